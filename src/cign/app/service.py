"""The model behind the page: predict, teach and undo, independent of the page itself.

Predictions continue while the model is taught: the changed model is built beside the current one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cign.backbones.base import Backbone
from cign.data.clips import Clip
from cign.data.media.decode import Decoded
from cign.errors import InputError
from cign.explain.scene import Scene, make_scene
from cign.inference.localization import Maps
from cign.inference.predict import predict_files
from cign.inference.prediction import Prediction
from cign.saved_model.files import is_of_run, model_place, state_of
from cign.saved_model.folder import load_model
from cign.saved_model.hub import hub_name, local_place
from cign.saved_model.model import Model
from cign.saved_model.versions import Version, changing, list_versions, undo
from cign.updating.adding import add_source
from cign.updating.class_joining import JoinedClasses, join_classes
from cign.updating.edits import check_updatable
from cign.updating.impact import Addition
from cign.utils.devices import resolve_device

TOP = 5
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result for a clip.

    Attributes:
        prediction: Predictions of each modality, `TOP` classes each.
        scene: Data for drawing.
        duration_s: Length of the clip in seconds.
        notes: Warnings about the file, one sentence each.
        seconds: Time taken.
    """

    prediction: Prediction
    scene: Scene
    duration_s: float
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Taught:
    """Result of teaching.

    Attributes:
        addition: What was learned, and its effect on old classes.
        version: New version number of the model.
    """

    addition: Addition
    version: int


class Service:
    """Holds the model of a page.

    Args:
        folder: A MODEL, a RUN, or ``owner/name`` on a model hub.
        teach: Whether the model may be changed.
        out: New folder for a copy that is changed instead; required for a RUN or a hub model.
        device: Compute device, as `cign.utils.devices.resolve_device` takes it.

    Raises:
        InputError: If there is no model, or if ``teach`` is set and it cannot be changed.
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
            raise InputError(
                "conflicting-options", "--out requires --teach: add --teach, or remove --out"
            )
        place = model_place(local_place(folder))
        if teach and out is None and (is_of_run(place) or hub_name(folder)):
            raise InputError(
                "bad-output",
                f"{folder} is a run or a hub model and cannot be changed: name a folder for a copy "
                "with --out",
            )
        self._device = resolve_device(device)
        model = load_model(place).to(self._device)
        _ = model.media_spec  # refuse a model of features: a page takes clips
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
        self._model, self._state = model, state_of(self.place)

    @property
    def model(self) -> Model:
        """The current model; reloaded if another process has changed the folder."""
        with self._loading:
            state = state_of(self.place)
            if state != self._state:
                self._model, self._state = load_model(self.place).to(self._device), state
            return self._model

    def backbone(self, model: Model) -> Backbone | None:
        """The frozen backbone of a model, loaded once; None if the method holds its encoders."""
        with self._loading:
            if model.regime == "frozen" and (
                self._backbone is None or self._backbone.fingerprint != model.fingerprint
            ):
                self._backbone = model.load_backbone()
            return self._backbone

    def answer(self, clip: Path, part: Clip | None = None) -> Answer:
        """Predict a clip.

        Args:
            clip: The file.
            part: The part of it to predict; the file's centre window if absent.

        Raises:
            InputError: If it cannot be read.
        """
        began = time.perf_counter()
        model = self.model
        observed: list[tuple[Decoded, Maps | None]] = []
        (prediction,) = predict_files(
            model,
            self.backbone(model),
            [part or clip],
            top=TOP,
            observer=lambda _, decoded, maps: observed.append((decoded, maps)),
        )
        if prediction.error is not None:
            raise InputError(
                "bad-clip",
                f"{clip.name} cannot be read ({prediction.error}): choose another video or audio "
                "file",
            )
        ((decoded, maps),) = observed
        scene = make_scene(
            prediction,
            decoded,
            maps,
            model.classes,
            rate_hz=model.media_spec.rate_hz,
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
        """Learn from clips; concurrent calls wait for each other.

        Args:
            table: Table of clips written by `cign.app.uploads.lay_out`.

        Raises:
            InputError: If teaching is locked, the clips cannot be used, or another process
                is changing the model.
        """
        addition, version = self.change(
            lambda model: add_source(
                model, table, lambda: self.backbone(model), keep=True, num_workers=0
            )
        )
        return Taught(addition=addition, version=version)

    def join(self, first: str, second: str) -> tuple[JoinedClasses, int]:
        """Make one class of two, see `cign.updating.class_joining`; and the new version number."""
        return self.change(lambda model: join_classes(model, first, second))

    def change(self, how: Callable[[Model], tuple[Model, T]]) -> tuple[T, int]:
        """Change the model; concurrent calls wait for each other.

        Args:
            how: Returns the changed model and a result.

        Returns:
            The result, and the new version number of the model.

        Raises:
            InputError: If changes are locked, or another process is changing the model.
        """
        self._unlocked()
        with self._writing, changing(self.place, None) as work:
            changed, result = how(self.model)
            work.keep(changed)
            return result, self.versions()[-1].number

    def undo(self, seen: int) -> int:
        """Return to the previous version.

        Args:
            seen: The version that the page shows as current.

        Raises:
            InputError: If another version is current by now, or there is no previous version.
        """
        self._unlocked()
        with self._writing:
            current = self.versions()[-1].number
            if current != seen:
                raise InputError(
                    "model-changed",
                    f"the model is now at version {current}, not {seen}, because somebody else "
                    "changed it: check the classes and press again",
                )
            return undo(self.place)

    def _unlocked(self) -> None:
        if not self.can_teach:
            raise InputError("unsupported", "teaching is locked: start the page with --teach")

    def versions(self) -> list[Version]:
        """All versions, the current one last."""
        return list_versions(self.place)

    def warm_up(self) -> None:
        """Load everything that the first prediction needs."""
        model = self.model
        self.backbone(model)
        _ = model.evidence_reader
