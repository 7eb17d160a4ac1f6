"""The model that a server holds: reloaded when its folder changes, taught and undone.

Predictions continue while the model is taught or reloaded: the new model is built beside the
current one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cign.backbones.base import Backbone
from cign.errors import InputError
from cign.saved_model.files import current_number, is_of_run, model_place, state_of
from cign.saved_model.folder import load_model
from cign.saved_model.hub import hub_name, local_place
from cign.saved_model.model import Model
from cign.saved_model.versions import Version, changing, list_versions, undo
from cign.updating.adding import add_source
from cign.updating.class_joining import JoinedClasses, join_classes
from cign.updating.edits import check_updatable
from cign.updating.impact import Addition
from cign.utils.devices import resolve_device

T = TypeVar("T")
_RETRY_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Taught:
    """Result of teaching.

    Attributes:
        addition: What was learned, and its effect on old classes.
        version: New version number of the model.
    """

    addition: Addition
    version: int


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One version of the model, in memory.

    Attributes:
        model: The model.
        version: Its version number, from 1. After an undo, the next change has the same number.
        checksum: First 12 hexadecimal digits of the SHA-256 of its ``model.json``, which differs
            for any two versions.
    """

    model: Model
    version: int
    checksum: str


class ModelService:
    """Holds a model for predictions, and changes it.

    Args:
        folder: A MODEL, a RUN, or ``owner/name`` on a model hub.
        teach: Whether the model may be changed.
        out: New folder for a copy that is changed instead; required for a RUN or a hub model.
        device: Compute device, as `cign.utils.devices.resolve_device` takes it.
        features: Whether a model of features, which cannot encode clips, is accepted.

    Attributes:
        place: The MODEL folder.
        can_teach: Whether the model may be changed.

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
        features: bool = False,
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
        if not features:
            _ = model.media_spec  # refuse a model that takes no clips
        if teach:
            check_updatable(model)
        if out is not None:
            with changing(folder, out) as work:
                work.keep(model)
            place = out
        self.place, self.can_teach = place, teach
        self._writing = threading.Lock()
        self._loading = threading.RLock()
        self._backbone: tuple[str, Backbone] | None = None
        self._is_warm = False
        self._failed: tuple[str | None, str, float] | None = None  # state, sentence, time
        self._state = state_of(place)
        self._snapshot = self._described(model, self._state)

    # ------------------------------------------------------------------ model

    @property
    def model(self) -> Model:
        """The current model; reloaded if another process has changed the folder."""
        return self.refreshed().model

    @property
    def snapshot(self) -> Snapshot:
        """The version in memory, without a look at the folder; never waits for a reload."""
        return self._snapshot

    @property
    def reload_error(self) -> str | None:
        """Why the version in the folder cannot be used; None if it is the one in memory."""
        failed = self._failed
        return None if failed is None else failed[1]

    def refreshed(self) -> Snapshot:
        """The version in the folder.

        If it cannot be loaded, the one in memory remains in use and `reload_error` says why.
        """
        with self._loading:
            try:
                state = state_of(self.place)
            except InputError as error:
                self._fail("damaged", str(error))
                return self._snapshot
            except OSError as error:  # often temporary, for example of a network drive
                reason = error.strerror or str(error)
                self._fail(None, f"model {self.place} cannot be read ({reason}): check the folder")
                return self._snapshot
            if state == self._state:
                self._failed = None
            elif state is None:
                self._fail(None, f"model {self.place} was removed: restore the folder")
            elif not self._has_just_failed(state):
                self._reload(state)
            return self._snapshot

    def _reload(self, state: str) -> None:
        try:
            while True:
                model = load_model(self.place).to(self._device)
                if (found := state_of(self.place)) == state or found is None:
                    break
                state = found  # changed while it was read
            if self._is_warm:
                self._prepare(model)
            self._snapshot, self._state, self._failed = self._described(model, state), state, None
        except Exception as error:  # whatever is wrong with it, the one in memory still answers
            self._fail(state, str(error) or type(error).__name__)

    def _has_just_failed(self, state: str | None) -> bool:
        failed = self._failed
        return failed is not None and failed[0] == state and time.monotonic() - failed[2] < _RETRY_S

    def _fail(self, state: str | None, sentence: str) -> None:
        self._failed = (state, sentence, time.monotonic())

    def _described(self, model: Model, state: str | None) -> Snapshot:
        return Snapshot(model=model, version=self._number(), checksum=(state or "")[:12])

    def _number(self) -> int:
        """Number of the version in the folder."""
        return current_number(self.place) or 1

    def backbone(self, model: Model) -> Backbone | None:
        """The frozen backbone of a model, loaded once; None if the method holds its encoders."""
        if model.regime != "frozen":
            return None
        known = self._backbone  # without the lock, which a reload may hold for seconds
        if known is not None and known[0] == model.fingerprint:
            return known[1]
        with self._loading:
            if self._backbone is None or self._backbone[0] != model.fingerprint:
                # Its own fingerprint takes a hash of all weights, too long for every batch.
                self._backbone = str(model.fingerprint), model.load_backbone()
            return self._backbone[1]

    def warm_up(self) -> None:
        """Load everything that the first prediction needs, now and after each reload."""
        self._prepare(self.model)
        self._is_warm = True

    def _prepare(self, model: Model) -> None:
        if model.spec is not None:
            self.backbone(model)
        _ = model.evidence_reader

    # ----------------------------------------------------------------- change

    def teach(
        self, table: Path, *, replace_learned: bool = False, seen: int | None = None
    ) -> Taught:
        """Learn from clips; concurrent calls wait for each other.

        Args:
            table: Table of clips, for example of `cign.serving.clip_tables.lay_out`.
            replace_learned: Whether to forget what was learned of these clips before.
            seen: See `change`.

        Raises:
            InputError: If teaching is locked, the clips cannot be used, or another process
                is changing the model.
        """
        addition, version = self.change(
            lambda model: add_source(
                model,
                table,
                lambda: self.backbone(model),
                keep=True,
                replace_learned=replace_learned,
                num_workers=0,
            ),
            seen=seen,
        )
        return Taught(addition=addition, version=version)

    def join(self, first: str, second: str) -> tuple[JoinedClasses, int]:
        """Make one class of two, see `cign.updating.class_joining`; and the new version number."""
        return self.change(lambda model: join_classes(model, first, second))

    def change(
        self, how: Callable[[Model], tuple[Model, T]], *, seen: int | None = None
    ) -> tuple[T, int]:
        """Change the model; concurrent calls wait for each other.

        Args:
            how: Returns the changed model and a result.
            seen: Expected current version; None for any.

        Returns:
            The result, and the new version number of the model.

        Raises:
            InputError: If changes are locked, another version than ``seen`` is current, the version
                in the folder cannot be loaded, or another process is changing the model.
        """
        self._unlocked()
        with self._writing, changing(self.place, None) as work:
            if seen is not None:
                self._check_seen(seen)
            model = self.model
            if self.reload_error is not None:
                raise InputError("damaged", self.reload_error)
            changed, result = how(model)
            work.keep(changed)
            return result, self._number()

    def undo(self, seen: int) -> int:
        """Return to the previous version.

        Args:
            seen: Expected current version.

        Raises:
            InputError: If another version is current by now, or there is no previous version.
        """
        self._unlocked()
        with self._writing:
            self._check_seen(seen)
            return undo(self.place)

    def _check_seen(self, seen: int) -> None:
        current = self._number()
        if current != seen:
            raise InputError(
                "model-changed",
                f"the model is now at version {current}, not {seen}, because somebody else "
                "changed it: check the classes and repeat the change",
            )

    def _unlocked(self) -> None:
        if not self.can_teach:
            raise InputError("unsupported", "teaching is locked: start the server with --teach")

    def versions(self) -> list[Version]:
        """All versions, the current one last."""
        return list_versions(self.place)
