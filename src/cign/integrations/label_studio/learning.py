"""Learn from annotations: one version of the model for all that changed since the last time."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cign.data.clips import clip_id
from cign.data.formats.label_texts import label_text
from cign.errors import CignError, InputError
from cign.integrations.label_studio.ledger import Ledger
from cign.integrations.label_studio.media import MediaFiles
from cign.integrations.label_studio.records import History, Key, Labels, Learned, digest
from cign.integrations.label_studio.service import ServedModel
from cign.integrations.label_studio.wanted import wanted_clips
from cign.saved_model.model import Model
from cign.updating.adding import add_chosen
from cign.updating.edits import encoders_for
from cign.updating.forgetting import forget_source
from cign.updating.new_clips import NewClips, choose_clips, opened

_COLUMNS = ("path", "labels", "split", "start_s", "end_s")


@dataclass(kw_only=True)
class Batch:
    """What one version learned and forgot.

    Attributes:
        learned: Number of clips that were learned, also with other labels than before.
        forgotten: Number of clips that were forgotten.
        new_classes: Classes that the model did not have before.
        version: Number of the version; None if nothing was changed.
        problems: What was left out and why; one sentence each.
    """

    learned: int = 0
    forgotten: int = 0
    new_classes: tuple[str, ...] = ()
    version: int | None = None
    problems: list[str] = field(default_factory=list)


class _NothingToDoError(Exception):
    """Ends a change without a new version."""


@dataclass(kw_only=True)
class _Change:
    """A changed model with what the ledger has to record of it."""

    model: Model
    batch: Batch
    clips: dict[Key, Learned | None] = field(default_factory=dict)


class AnnotationLearner:
    """Brings a model to the state that the annotations describe.

    Args:
        service: The model.
        ledger: The annotations.
        media: Finds the recordings.
    """

    def __init__(self, service: ServedModel, ledger: Ledger, media: MediaFiles) -> None:
        self._service, self._ledger, self._media = service, ledger, media

    def learn(self) -> Batch:
        """Learn new and changed annotations and forget deleted ones, in one version.

        A clip whose labels were corrected is learned with the new ones alone. What the model has
        learned already is left as it is, so that repeating this changes nothing.

        Returns:
            What was done.

        Raises:
            InputError: If the model may not be changed, or another process is changing it.
            RunError: If the ridge solution is singular.
        """
        seen = self._ledger.changed()
        batch = Batch()

        def change(model: Model) -> tuple[Model, tuple[History, _Change]]:
            made = self._changed(model, batch)
            if not made.clips:
                raise _NothingToDoError
            batch.new_classes = tuple(n for n in made.model.classes if n not in model.classes)
            return made.model, (history(model), made)

        try:
            (before, made), batch.version = self._service.change(change)
        except _NothingToDoError:
            pass
        else:
            # If the process ends before this, the same clips are learned again in place of these.
            self._ledger.add_batch(batch.version, before, history(made.model), made.clips)
            self._service.refreshed()  # here rather than when the next task is predicted
        self._ledger.considered(seen)
        return batch

    def _changed(self, model: Model, batch: Batch) -> _Change:
        """The model with all annotations learned."""
        self._ledger.compare(history(model))
        wanted = wanted_clips(self._ledger.annotations(), self._ledger.interfaces(), model)
        batch.problems += wanted.problems
        known, held = self._ledger.learned(), self._ledger.held()
        to_learn = {
            key: labels
            for key, labels in wanted.clips.items()
            if (key not in known or known[key].labels != labels)
            and not (key in held and held[key] == labels)
        }
        to_forget = {
            key: one
            for key, one in known.items()
            if key not in wanted.clips
            and key.reference not in wanted.unclear
            and not (key in held and held[key] is None)
        }
        made = _Change(model=model, batch=batch)
        stay = {key: one for key, one in known.items() if key not in to_forget}
        if to_learn:
            self._learn(made, to_learn, stay)
        if to_forget:
            now = [*stay.values(), *made.clips.values()]
            self._forget(made, to_forget, {one.content for one in now if one is not None})
        return made

    def _learn(
        self, made: _Change, clips: Mapping[Key, Labels], known: Mapping[Key, Learned]
    ) -> None:
        """Learn clips, in place of what was learned of them before."""
        with TemporaryDirectory(prefix="cign-label-studio-") as name:
            folder = Path(name)
            listed = self._list(made.batch, clips, folder, "cannot be learned")
            if not listed:
                return
            table = _write_table(folder, listed, clips)
            encoders = encoders_for(
                made.model, table, None, lambda: self._service.backbone(made.model)
            )
            try:
                with opened(table, encoders, num_workers=0) as (store, _, notes):
                    chosen = choose_clips(
                        made.model, store, folder, has_no_splits=False, keep=False, notes=notes
                    )
                    key_of = {_clip_id(key, link): key for key, link in listed.items()}
                    keys = [key_of[clip.id] for clip in chosen.clips]
                    self._add(made, chosen, keys, clips, known)
            except InputError as error:
                if error.code != "no-clips":
                    raise
                made.batch.problems.append(str(error))

    def _add(
        self,
        made: _Change,
        chosen: NewClips,
        keys: Sequence[Key],
        labels_of: Mapping[Key, Labels],
        known: Mapping[Key, Learned],
    ) -> None:
        """Add clips that are decoded; each content once."""
        by_content = {one.content: key for key, one in known.items() if key not in labels_of}
        rows = []
        for row in chosen.learned.tolist():
            key = keys[row]
            content = chosen.hashes[row].tobytes().hex()
            other = by_content.setdefault(content, key)
            if other != key:
                made.batch.problems.append(
                    f"{key} is left out: its middle is the same as that of {other}"
                )
                continue
            rows.append(row)
            made.clips[key] = Learned(labels_of[key], content)
        made.batch.problems += chosen.notes
        if rows:
            some = dataclasses.replace(chosen, learned=np.array(rows, dtype=np.int64))
            made.model, _ = add_chosen(made.model, some, replace_learned=True)
            made.batch.learned = len(rows)

    def _forget(self, made: _Change, clips: Mapping[Key, Learned], stay: set[str]) -> None:
        """Forget clips, except content that other clips have, too."""
        made.clips |= {key: None for key, one in clips.items() if one.content in stay}
        gone = {key: one.labels for key, one in clips.items() if one.content not in stay}
        with TemporaryDirectory(prefix="cign-label-studio-") as name:
            folder = Path(name)
            listed = self._list(made.batch, gone, folder, "cannot be forgotten")
            if not listed:
                return
            table = _write_table(folder, listed, gone)
            try:
                made.model, forgotten = forget_source(
                    made.model,
                    table,
                    lambda: self._service.backbone(made.model),
                    only_learned=True,
                    num_workers=0,
                )
                made.batch.forgotten = forgotten.num_clips + forgotten.num_validation
                made.batch.problems += forgotten.notes
            except CignError as error:
                made.batch.problems.append(f"nothing was forgotten: {error}")
                if error.code != "no-clips":  # that is: they were forgotten by other means
                    return
        made.clips |= dict.fromkeys(listed)

    def _list(self, batch: Batch, clips: Iterable[Key], folder: Path, what: str) -> dict[Key, str]:
        """Link the recordings of clips into a folder; gives the name of each clip's link."""
        listed: dict[Key, str] = {}
        failed: dict[str, str] = {}
        for key in clips:
            try:
                if key.reference in failed:
                    continue
                path = self._media.kept(key.reference)
            except CignError as error:
                failed[key.reference] = str(error)
                batch.problems.append(f"clips of {key.reference} {what}: {error}")
                continue
            link = folder / f"{digest(key.reference)[:16]}{path.suffix.lower()}"
            if not link.is_symlink():
                link.symlink_to(path.absolute())
            listed[key] = link.name
        return listed


def _write_table(folder: Path, listed: Mapping[Key, str], labels: Mapping[Key, Labels]) -> Path:
    """Write clips as a table for `cign.updating.new_clips.opened`."""
    table = folder / "clips.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for key, link in listed.items():
            names = "|".join(map(label_text, labels[key]))
            writer.writerow((link, names, "train", key.start_s, key.end_s))
    return table


def _clip_id(key: Key, link: str) -> str:
    return clip_id(link, key.start_s, key.end_s)


def history(model: Model) -> History:
    """Where a model comes from, then its changes; see `Ledger.compare`."""
    origin = [model.method.name, model.fingerprint, model.results]
    return [{"origin": digest(origin)}, *model.changes]
