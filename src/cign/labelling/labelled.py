"""The part of `cign.learner.Learner` that works on labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.labelling.audit_files import check_audit_out, write_audit
from cign.labelling.auditing import Audit, audit_labels
from cign.labelling.learned import predicted_again
from cign.labelling.proposals import Proposals
from cign.labelling.proposing import propose
from cign.labelling.thresholds import choose_thresholds, wanted_of
from cign.saved_model.class_thresholds import ClassThresholds
from cign.updating.changeable import Changeable
from cign.updating.edits import with_change
from cign.updating.new_clips import Source
from cign.utils.display import displayed
from cign.utils.progress import Progress


class Labelled(Changeable):
    """Methods that propose clips to label, judge labels, and decide which classes to assign."""

    def next(
        self,
        clips: Source | Sequence[Source],
        *,
        number: int,
        first_pass: int | None = None,
        format: str | None = None,
        media: Sequence[Path] = (),
        engine: str = "local",
        num_workers: int | None = None,
        progress: Progress | bool | None = None,
    ) -> Proposals:
        """Propose unlabelled clips to label next; the model is not changed.

        Args:
            clips: A folder of media files, a table or other list, or a prepared store, or several
                stores; labels are ignored, and clips that the model knows are left out.
            number: How many clips to propose.
            first_pass: See `cign.labelling.proposing.propose`.
            format: As `cign.data.formats.read_source` takes it.
            media: As `cign.data.formats.read_source` takes it.
            engine: ``local``, or ``ray`` to score the clips of stores on a cluster.
            num_workers: With ``ray``, the largest number of concurrent calls.
            progress: Receives the progress of clips; None shows a bar in a terminal or notebook,
                False shows none.

        Returns:
            The clips, the most informative first, each with the model's guesses; `Proposals.write`
            makes a list of them to fill in.

        Raises:
            InputError: See `cign.labelling.proposing.propose`.
        """
        how: dict[str, Any] = {"number": number, "first_pass": first_pass, "format": format}
        how |= {"media": media, "engine": engine, "num_workers": num_workers}
        with displayed(progress) as bar:
            return propose(self._trained(), clips, self._encoders, progress=bar, **how)

    def audit(
        self,
        clips: Source | Sequence[Source],
        *,
        out: Path | str | None = None,
        format: str | None = None,
        media: Sequence[Path] = (),
        engine: str = "local",
        num_workers: int | None = None,
        progress: Progress | bool | None = None,
    ) -> Audit:
        """Find learned clips whose labels may be wrong.

        Args:
            clips: The clips that the model learned: a prepared store, a folder of class folders, or
                a table; or several stores.
            out: A .csv file for all clips, the most suspicious first; or a folder for the same and
                a page with frames and audio, on which labels can be corrected. None writes nothing.
            format: As `cign.data.formats.read_source` takes it.
            media: As `cign.data.formats.read_source` takes it.
            engine: ``local``, or ``ray`` to predict the clips of stores on a cluster.
            num_workers: As `cign.data.prepare.pipeline.prepare` takes it; with ``ray`` the largest
                number of concurrent calls.
            progress: As for `add`.

        Returns:
            The doubts, the most suspicious first.

        Raises:
            InputError: If the method cannot leave out clips, the clips are not those that the model
                learned, the model has a single class, or ``out`` cannot be written.
        """
        model, place = self._trained(), None if out is None else Path(out)
        if place is not None:
            check_audit_out(place)
        if len(model.classes) == 1:
            raise InputError(
                "unsupported",
                f"this model knows only {model.classes[0]!r}, so no other label can be suggested: "
                "audit a model of two classes or more",
            )
        how: dict[str, Any] = {"format": format, "media": media, "num_workers": num_workers}
        how["engine"] = engine
        with (
            displayed(progress) as bar,
            predicted_again(model, clips, self._encoders, progress=bar, **how) as found,
        ):
            predictions, shown, notes = found
            multi_label = model.method.setup.multi_label
            audit = audit_labels(predictions, model.classes, multi_label=multi_label, notes=notes)
            if place is not None:
                write_audit(audit, place, model.classes, shown)
        return audit

    def thresholds(
        self,
        clips: Source | None = None,
        *,
        precision: float | None = None,
        recall: float | None = None,
        clear: bool = False,
        format: str | None = None,
        media: Sequence[Path] = (),
        num_workers: int | None = None,
        progress: Progress | bool | None = None,
    ) -> ClassThresholds | None:
        """Choose a threshold for each class from the clips that the model learned, and store them.

        Args:
            clips: The clips that the model learned, as for `audit`; None changes nothing.
            precision: Wanted precision of each class, in (0, 1]; default: 0.9.
            recall: Wanted recall of each class, in (0, 1], instead.
            clear: Remove the stored thresholds.
            format: As for `audit`.
            media: As for `audit`.
            num_workers: As for `audit`.
            progress: As for `audit`.

        Returns:
            The thresholds that the model has now; None without any.

        Raises:
            InputError: As for `audit`, and if the arguments exclude each other or are out of range.
        """
        model, (measure, wanted) = self._trained(), wanted_of(precision, recall)
        if clear and clips is not None:
            raise InputError(
                "conflicting-options", "clear removes the thresholds: leave out clips, or clear"
            )
        if clips is None:
            if precision is not None or recall is not None:
                raise InputError(
                    "missing-option",
                    f"a threshold for a {measure} is chosen from clips: give the clips that the "
                    "model learned",
                )
            if clear and model.thresholds is not None:
                changed = replace(model, thresholds=None)
                text = "removed the thresholds of classes"
                self.model = with_change(changed, text, changes_predictions=False)
            return self._trained().thresholds
        how: dict[str, Any] = {"format": format, "media": media, "num_workers": num_workers}
        with (
            displayed(progress) as bar,
            predicted_again(model, clips, self._encoders, progress=bar, **how) as found,
        ):
            multi_label = model.method.setup.multi_label
            chosen = choose_thresholds(
                found[0], model.classes, measure, wanted, multi_label=multi_label
            )
        text = f"thresholds of classes chosen for {measure} {wanted:g}"
        changed = replace(model, thresholds=chosen)
        self.model = with_change(changed, text, changes_predictions=False)
        return chosen
