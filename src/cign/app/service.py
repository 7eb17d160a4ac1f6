"""One model behind a page: it answers, learns and goes back; knows nothing of pages.

Reading goes on while the model is taught: a changed model is made beside the one that answers.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from cign.backbones.base import Backbone
from cign.data.media.decode import Decoded
from cign.errors import InputError
from cign.explain.scene import Scene, make_scene
from cign.inference.localization import Maps
from cign.inference.predict import predict_files
from cign.inference.prediction import Prediction
from cign.saved_model.files import ABOUT, is_of_run, model_place
from cign.saved_model.folder import load_model
from cign.saved_model.hub import hub_name, local_place
from cign.saved_model.model import Model
from cign.saved_model.versions import Version, changing, list_versions, undo
from cign.updating.edits import add_source, check_updatable
from cign.updating.impact import Addition
from cign.utils.devices import resolve_device

TOP = 5


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said of a clip.

    Attributes:
        prediction: The readings, `TOP` classes each.
        scene: What can be drawn.
        duration_s: Length of the clip.
        notes: What is odd about the file; one sentence each.
        seconds: What it took.
    """

    prediction: Prediction
    scene: Scene
    duration_s: float
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Taught:
    """What a teaching did.

    Attributes:
        addition: What was learned and what it costs.
        version: Of the model from now on.
    """

    addition: Addition
    version: int


class Service:
    """Holds a model for a page.

    Args:
        folder: A MODEL, a RUN, or ``owner/name`` on a hub of models.
        teach: Whether it may be changed.
        out: A new folder for a copy that is changed instead; a RUN or a model on a hub needs one.
        device: Where it computes, as `cign.utils.devices.resolve_device` takes it.

    Raises:
        InputError: If there is no model, or it cannot be changed and is to be.
    """

    def __init__(
        self,
        folder: Path,
        *,
        teach: bool = False,
        out: Path | None = None,
        device: str | None = None,
    ) -> None:
        if out is not None and not teach:
            raise InputError("--out is for the copy that is taught: give --teach too, or leave it")
        place = model_place(local_place(folder))
        if teach and out is None and (is_of_run(place) or hub_name(folder)):
            raise InputError(
                f"{folder} is a run's or a hub's and stays as it is: name a folder for a copy that "
                "is taught with --out"
            )
        self._device = resolve_device(device)
        model = load_model(place).to(self._device)
        if teach:
            check_updatable(model)
        if out is not None:
            with changing(folder, out) as work:
                work.keep(model)
            place = out
        self.place, self.can_teach = place, teach
        self._writing = threading.Lock()
        self._loading = threading.RLock()
        self._backbone: Backbone | None = None
        self._model, self._state = model, self._file_state()

    def _file_state(self) -> tuple[int, int]:
        about = os.stat(self.place / ABOUT)  # noqa: PTH116 (one call for both)
        return about.st_mtime_ns, about.st_ino

    @property
    def model(self) -> Model:
        """The current model; read again where another process has changed the folder."""
        with self._loading:
            state = self._file_state()
            if state != self._state:
                self._model, self._state = load_model(self.place).to(self._device), state
            return self._model

    def backbone(self, model: Model) -> Backbone | None:
        """The frozen backbone of a model, loaded once; None where the method holds encoders."""
        with self._loading:
            if model.regime == "frozen" and (
                self._backbone is None or self._backbone.fingerprint != model.fingerprint
            ):
                self._backbone = model.load_backbone()
            return self._backbone

    def answer(self, clip: Path) -> Answer:
        """Read a clip.

        Raises:
            InputError: If it cannot be read.
        """
        began = time.perf_counter()
        model = self.model
        seen: list[tuple[Decoded, Maps | None]] = []
        (prediction,) = predict_files(
            model,
            self.backbone(model),
            [clip],
            top=TOP,
            observer=lambda _, decoded, maps: seen.append((decoded, maps)),
        )
        if prediction.error is not None:
            raise InputError(
                f"{clip.name} cannot be read ({prediction.error}): choose another video or audio "
                "file"
            )
        ((decoded, maps),) = seen
        scene = make_scene(
            prediction,
            decoded,
            maps,
            model.classes,
            rate_hz=model.spec.rate_hz,
            method=model.method.name,
        )
        return Answer(
            prediction=prediction,
            scene=scene,
            duration_s=decoded.duration_s,
            notes=tuple(detail for _, detail in decoded.conditions),
            seconds=time.perf_counter() - began,
        )

    def teach(self, table: Path) -> Taught:
        """Learn clips; who comes second waits for the first.

        Args:
            table: As `cign.app.uploads.lay_out` writes it.

        Raises:
            InputError: If the page may not teach, the clips cannot be used, or another process
                is changing the model.
        """
        self._unlocked()
        with self._writing, changing(self.place, None) as work:
            model = self.model
            changed, addition = add_source(
                model, table, lambda: self.backbone(model), keep=True, num_workers=0
            )
            work.keep(changed)
            return Taught(addition=addition, version=self.versions()[-1].number)

    def undo(self, seen: int) -> int:
        """Go back by one version; gives its number.

        Args:
            seen: The version that the page showed as the current one.

        Raises:
            InputError: If another one is current by now, or there is none before it.
        """
        self._unlocked()
        with self._writing:
            current = self.versions()[-1].number
            if current != seen:
                raise InputError(
                    f"the model is at version {current} by now, not {seen}: somebody else changed "
                    "it; look at the classes and press again"
                )
            return undo(self.place)

    def _unlocked(self) -> None:
        if not self.can_teach:
            raise InputError("teaching is locked: start the page with --teach")

    def versions(self) -> list[Version]:
        """All versions, the current one last."""
        return list_versions(self.place)

    def warm_up(self) -> None:
        """Load what the first answer would wait for."""
        model = self.model
        self.backbone(model)
        _ = model.evidence_reader
