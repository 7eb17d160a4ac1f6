"""What a model that has learned is used for: predict, add, rename, remove, save, push, export."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cign.addition import Addition
from cign.editing import add_source, remove_class, rename_class
from cign.errors import InputError
from cign.hub import upload
from cign.model_files import ABOUT, checksum
from cign.model_folder import Model, save_model
from cign.models.backbone import Backbone
from cign.new_clips import Source
from cign.predictor import Observer, Prediction, predict_files
from cign.progress import Progress
from cign.versions import save_or_publish

if TYPE_CHECKING:
    from cign.export.exporting import Exported


class Trained:
    """The part of a `cign.learner.Learner` that needs its model and nothing of how it came about.

    Attributes:
        model: What was learned or loaded; None before.
    """

    def __init__(self) -> None:
        self.model: Model | None = None
        self._backbone: Backbone | None = None
        # Checksums of descriptions by folder, as they were when this model was read or written.
        self._seen: dict[Path, str] = {}

    def _trained(self) -> Model:
        if self.model is None:
            raise InputError("this learner has learned nothing yet: call learn or load first")
        return self.model

    # ---------------------------------------------------------------- predict

    def predict(
        self,
        files: Iterable[str | Path],
        *,
        top: int = 3,
        every_s: float | None = None,
        progress: Progress | None = None,
        observer: Observer | None = None,
    ) -> Iterator[Prediction]:
        """Read files; see `cign.predictor.predict_files`.

        Raises:
            InputError: If the backbone is not the one the model was made with.
        """
        model = self._trained()
        how: dict[str, Any] = {"top": top, "every_s": every_s, "progress": progress}
        return predict_files(model, self._encoders(), files, observer=observer, **how)

    def _encoders(self) -> Backbone | None:
        """The frozen backbone of the model; None where the method holds its encoders."""
        model = self._trained()
        if self._backbone is None and model.regime == "frozen":
            self._backbone = model.load_backbone()
        return self._backbone

    # -------------------------------------------------- add, rename, remove

    def add(
        self,
        clips: Source,
        *,
        format: str | None = None,
        media: Sequence[Path] = (),
        keep: bool = True,
        num_workers: int | None = None,
        progress: Progress | None = None,
    ) -> Addition:
        """Teach the model new classes, or more clips of known ones, without its old clips.

        Args:
            clips: A folder of class folders, a table, or a prepared store.
            format: As `cign.data.formats.read_source` takes it.
            media: As `cign.data.formats.read_source` takes it.
            keep: Whether a few clips of each class stay with the model, never learned from, to
                measure what changes cost.
            num_workers: As `cign.data.prepare.prepare` takes it.
            progress: Told of every clip.

        Returns:
            What was added and what it costs the old classes.

        Raises:
            InputError: If the method learns by gradients, or clips and names do not fit.
            RunError: If the ridge solution is singular. The model is then as it was.
        """
        how = {"format": format, "media": media, "num_workers": num_workers, "progress": progress}
        self.model, addition = add_source(self._trained(), clips, self._encoders, keep=keep, **how)
        return addition

    def rename(self, old: str, new: str) -> None:
        """Give a class another name; see `cign.editing.rename_class`."""
        self.model = rename_class(self._trained(), old, new)

    def remove(self, name: str) -> None:
        """Forget a class; see `cign.editing.remove_class`."""
        self.model = remove_class(self._trained(), name)

    # ------------------------------------------------------------- save, load

    def save(self, folder: Path | str) -> None:
        """Write a MODEL folder; where one lies already, as its next version.

        Raises:
            InputError: If the folder is a run's, or another process changes it, or has changed it
                since this learner was loaded from it.
        """
        place = Path(folder).resolve()
        save_or_publish(self._trained(), place, self._seen.get(place))
        self._seen[place] = checksum(place / ABOUT)

    def push(
        self, name: str, *, private: bool = True, keep: bool = False, licence: str | None = None
    ) -> str:
        """Put the model on a hub of models; `Learner.load` and all commands take its name.

        Args:
            name: ``owner/name``.
            private: Whether a repository that is made for it is private.
            keep: Whether the clips that are kept with the model, as tokens, go along.
            licence: Of the weights, as hubs name it, for the model card.

        Returns:
            Address of the commit.

        Raises:
            InputError: If the name is none, or the backbone is a folder of this machine.
            RunError: If the hub refuses it or cannot be reached.
        """
        model = self._trained()
        with tempfile.TemporaryDirectory() as folder:
            pushed = model if keep else dataclasses.replace(model, kept=None)
            save_model(pushed, Path(folder), licence=licence)
            return upload(Path(folder), name, private=private)

    def export(
        self,
        out: Path | str,
        *,
        format: str = "onnx",
        clips: Sequence[Path | str] = (),
        progress: Progress | None = None,
    ) -> Exported:
        """Write the predictor as a file; arguments and errors as of `export_model`."""
        from cign.export.exporting import export_model  # heavy: only where it is used

        model, files = self._trained(), [Path(clip) for clip in clips]
        return export_model(
            model, self._encoders(), Path(out), format=format, clips=files, progress=progress
        )
