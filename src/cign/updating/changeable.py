"""The part of `cign.learner.Learner` that changes a trained model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cign.backbones.base import Backbone
from cign.errors import InputError
from cign.saved_model.folder import load_model
from cign.saved_model.model import Model
from cign.updating.adding import add_source
from cign.updating.class_joining import JoinedClasses, join_classes
from cign.updating.duplicates import rows_in_earlier, without_duplicates
from cign.updating.edits import remove_class, rename_class
from cign.updating.forgetting import Forgotten, forget_source
from cign.updating.impact import Addition
from cign.updating.merging import Merged, merge_models
from cign.updating.new_clips import Source
from cign.updating.resolving import Resolved, resolve_model
from cign.utils.display import displayed
from cign.utils.progress import Progress


class Changeable:
    """Methods that replace a trained model by a changed one.

    Attributes:
        model: The trained or loaded model; None before.
    """

    model: Model | None
    _backbone: Backbone | None  # loaded when it is first needed

    def _trained(self) -> Model:
        if self.model is None:
            raise InputError("not-trained", "this learner is not trained: call learn or load first")
        return self.model

    def _encoders(self) -> Backbone | None:
        """The frozen backbone of the model; None if the method contains its encoders."""
        model = self._trained()
        if self._backbone is None and model.regime == "frozen":
            self._backbone = model.load_backbone()
        return self._backbone

    def add(
        self,
        clips: Source,
        *,
        format: str | None = None,
        media: Sequence[Path] = (),
        keep: bool = True,
        replace: bool = False,
        num_workers: int | None = None,
        progress: Progress | bool | None = None,
    ) -> Addition:
        """Add new classes, or clips of known classes, without the old clips.

        Args:
            clips: A folder of class folders, a table, or a prepared store.
            format: As `cign.data.formats.read_source` takes it.
            media: As `cign.data.formats.read_source` takes it.
            keep: Whether the model stores a few validation clips per class, never used for
                training, to measure the effect of changes.
            replace: Whether clips that the model learned before are learned with their new labels
                alone; otherwise they count twice.
            num_workers: As `cign.data.prepare.pipeline.prepare` takes it.
            progress: Receives the progress of clips; None shows a bar in a terminal or notebook,
                False shows none.

        Returns:
            What was added, and its effect on old classes.

        Raises:
            InputError: If the method learns by gradients, or clips and names do not match.
            RunError: If the ridge solution is singular. The model is then unchanged.
        """
        how: dict[str, Any] = {"format": format, "media": media, "num_workers": num_workers}
        with displayed(progress) as bar:
            self.model, addition = add_source(
                self._trained(),
                clips,
                self._encoders,
                keep=keep,
                replace_learned=replace,
                progress=bar,
                **how,
            )
        return addition

    def forget(
        self,
        clips: Source,
        *,
        class_name: str | None = None,
        only_learned: bool = False,
        reset_selection: bool = False,
        format: str | None = None,
        media: Sequence[Path] = (),
        num_workers: int | None = None,
        progress: Progress | bool | None = None,
    ) -> Forgotten:
        """Forget clips: the model is as if it had never learned them, given its settings.

        Clips are recognised by their decoded content, not by their names. Stored validation clips
        among them are removed, too, and classes without any clip left.

        Args:
            clips: A folder, a table or a prepared store with the clips, as for `add`.
            class_name: Forget only the clips that were learned as this class.
            only_learned: Leave out clips that the model did not learn, instead of refusing them.
            reset_selection: Drop the losses by which settings were selected, in which the clips had
                a part; settings that were not set by hand are the default ones then.
            format: As for `add`.
            media: As for `add`.
            num_workers: As for `add`.
            progress: As for `add`.

        Returns:
            What was forgotten, and the effect on the validation clips.

        Raises:
            InputError: If the method learns by gradients, the clips trained its encoders, a clip
                was never learned or is forgotten already, or no class would be left.
            RunError: If the ridge solution is singular. The model is then unchanged.
        """
        how: dict[str, Any] = {"format": format, "media": media, "num_workers": num_workers}
        how |= {"class_name": class_name, "only_learned": only_learned}
        with displayed(progress) as bar:
            self.model, forgotten = forget_source(
                self._trained(),
                clips,
                self._encoders,
                reset_selection=reset_selection,
                progress=bar,
                **how,
            )
        return forgotten

    def rename(self, old: str, new: str) -> None:
        """Rename a class; see `cign.updating.edits.rename_class`."""
        self.model = rename_class(self._trained(), old, new)

    def join(self, first: str, second: str) -> JoinedClasses:
        """Make one class of two; arguments as for `cign.updating.class_joining.join_classes`."""
        self.model, joined = join_classes(self._trained(), first, second)
        return joined

    def remove(self, name: str) -> None:
        """Remove a class; see `cign.updating.edits.remove_class`."""
        self.model = remove_class(self._trained(), name)

    def merge(
        self,
        *others: Changeable | Path | str,
        settings: str | None = None,
        once: Source | None = None,
        format: str | None = None,
        media: Sequence[Path] = (),
        num_workers: int | None = None,
        progress: Progress | bool | None = None,
    ) -> Merged:
        """Merge other models into this one, without any clip.

        Given the settings, the model is that of learning the clips of all of them at once. Clips
        that several models learned count as often, which is noted; ``once`` counts them once.

        Args:
            others: Trained learners, or MODEL or RUN folders, of the same method, options,
                backbone and label kind; they are not changed.
            settings: Whose settings are used: ``A`` for those of this model, ``B`` for those of
                the first of ``others``, and so on; ``select`` selects them by the added tallies,
                which is approximate. None requires that all models use the same.
            once: Clips that several models have learned, as for `add`: later models forget them
                before the merge, so that they count once.
            format: As for `add`.
            media: As for `add`.
            num_workers: As for `add`.
            progress: As for `add`.

        Returns:
            What was merged, and its effect on the validation clips of each model.

        Raises:
            InputError: If the models cannot be merged, or use different settings and ``settings``
                is None, or ``once`` lacks clips that several models have learned.
            RunError: If the ridge solution is singular. The model is then unchanged.
        """
        models = [
            one._trained() if isinstance(one, Changeable) else load_model(Path(one))
            for one in others
        ]
        models, num_once = [self._trained(), *models], 0
        if once is None and (format is not None or media):
            raise InputError(
                "conflicting-options",
                "format and media describe the clips that are counted once: give these, too (once)",
            )
        if once is not None:
            how: dict[str, Any] = {"format": format, "media": media, "num_workers": num_workers}
            with displayed(progress) as bar:
                models, num_once = without_duplicates(
                    models, once, self._encoders, progress=bar, **how
                )
        num_twice = sum(map(len, rows_in_earlier(models)))
        self.model, merged = merge_models(models, settings)
        return dataclasses.replace(merged, num_twice=num_twice, num_once=num_once)

    def resolve(
        self, settings: Mapping[str, Any] | None = None, *, select: bool = False
    ) -> Resolved:
        """Solve the model again with other settings, without any clip.

        ``resolve({"ridge": 300.0})``, ``resolve({"audio": {"ridge": 300.0, "temperature": 0.2}})``.
        Settings that are given here are kept when clips are added.

        Args:
            settings: Names and values of `cign.methods.sums.SETTING_NAMES`, for both modalities or
                by modality. A ridge strength, temperature or count power may have any value; the
                view of a clip must be one of those whose sums are stored.
            select: Select the settings by the tallies of all learned clips instead.

        Returns:
            What was changed, and the effect on the validation clips.

        Raises:
            InputError: If a setting is unknown, has no effect, or needs sums that are not stored.
            RunError: If the ridge solution is singular. The model is then unchanged.
        """
        self.model, resolved = resolve_model(self._trained(), settings or {}, select=select)
        return resolved
