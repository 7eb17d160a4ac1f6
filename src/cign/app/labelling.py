"""The labelling workflow behind the page: propose, label, learn, check and correct.

All pages share one list of labels. Whether a label is learned, and as what, is looked up in the
records of the model, so that it is right after an undo, a kill or a change by another process.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cign.app.label_learning import Labels, check_labelling, clips_to_learn, recorded_labels
from cign.app.label_pool import ClipPool, prepare_one
from cign.app.label_session import LabelSession
from cign.app.service import Service
from cign.data.formats.label_texts import BACKGROUND, NONE
from cign.data.similar_names import spelled_like
from cign.data.store import Store
from cign.errors import InputError
from cign.labelling.proposing import propose_of_store
from cign.saved_model.model import Model
from cign.serving.model_service import Taught
from cign.updating.adding import add_chosen
from cign.updating.impact import Addition
from cign.updating.new_classes import check_name
from cign.updating.new_clips import num_clips
from cign.utils.progress import Silent

ROUND = 20
"""Clips that are proposed at a time."""
FIRST_PASS = 10_000
"""Clips whose single tokens are scored, where `Learner.next` takes a fifth of a large store: a page
must answer."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A clip that waits for a decision.

    Attributes:
        key: Its key, see `cign.app.label_pool.ClipPool`.
        name: Its name in the source.
        guesses: Classes with their probabilities, most probable first.
        number: Its number in the round, from 1.
        total: Number of clips in the round.
    """

    key: str
    name: str
    guesses: tuple[tuple[str, float], ...]
    number: int
    total: int


class Labelling:
    """Labels of a session, and what the model makes of them.

    Args:
        service: The model; it must allow changes.
        pool: The clips.
        work: Folder of the labels, which are read if there are any.
        notes: What was left out when the clips were prepared.

    Raises:
        InputError: If the model cannot be taught clip by clip, or the labels are damaged.
    """

    def __init__(
        self, service: Service, pool: ClipPool, work: Path, notes: tuple[str, ...] = ()
    ) -> None:
        self.service, self.pool, self._work, self.notes = service, pool, work, notes
        check_labelling(service.model)
        self.session = LabelSession.open(work / "labels.json")
        self.lock = threading.RLock()
        self._recorded: tuple[Model | None, dict[str, Labels]] = (None, {})
        for folder in sorted((work / "corrections").glob("[0-9]*/store")):
            if (folder / "store.json").is_file():
                pool.add(Store.open(folder))

    # ------------------------------------------------------------------ label

    def propose(self, number: int = ROUND) -> None:
        """Begin a round: propose the next clips.

        Raises:
            InputError: If there are no clips, or none is left.
        """
        with self.lock:
            model, session = self.service.model, self.session
            done = {*session.labels, *session.unsure, *self.learned(model)}
            found = self.pool.unlabelled(model, done)
            if len(found.indices) == 0:
                raise InputError("no-clips", "all clips are labelled, learned or skipped")
            proposed = propose_of_store(
                model, found, number=number, first_pass=FIRST_PASS, progress=Silent()
            )
            ids = {found.clips[int(index)].id: int(index) for index in found.indices}
            session.round = {
                self.pool.key(ids[one.clip.id]): one.guesses for one in proposed.proposals
            }
            session.save()

    def current(self) -> Shown | None:
        """The clip to label now; None at the end of a round."""
        with self.lock:
            keys = list(self.session.round)
            for number, key in enumerate(keys, start=1):
                if key in self.pool and not self.session.is_decided(key):
                    return Shown(
                        key=key,
                        name=self.pool.clip(key).id,
                        guesses=self.session.round[key],
                        number=number,
                        total=len(keys),
                    )
            return None

    def label(self, key: str, name: str) -> None:
        """Give a clip the label of a class, known or new.

        Raises:
            InputError: If the clip or the name is not usable.
        """
        with self.lock:
            self.check_key(key)
            self.session.label(key, (self.class_named(name),))
            self.session.save()

    def label_background(self, key: str) -> None:
        """Label a clip as having none of the classes.

        Raises:
            InputError: If the method does not learn background.
        """
        method = self.service.model.method
        if not method.supports_background:
            raise InputError(
                "unsupported",
                f"{method.name} does not learn clips with none of the classes: choose unsure",
            )
        with self.lock:
            self.check_key(key)
            self.session.label(key, ())
            self.session.save()

    def skip(self, key: str) -> None:
        """Skip a clip: it is not proposed again."""
        with self.lock:
            self.check_key(key)
            self.session.skip(key)
            self.session.save()

    def back(self) -> None:
        """Take back the latest decision of the round, unless it is learned."""
        with self.lock:
            pending = self.pending()
            decided = [
                key for key in self.session.round if key in pending or key in self.session.unsure
            ]
            if decided:
                self.session.reopen(decided[-1])
                self.session.save()

    def class_named(self, name: str) -> str:
        """The class of a name that was typed or chosen.

        Raises:
            InputError: If the name is not allowed, stands for background, or is another spelling
                of a class.
        """
        name = check_name(name.strip())
        if name in (NONE, BACKGROUND):
            raise InputError(
                "bad-value", f"{name!r} stands for none of the classes: press None of these"
            )
        known = self.classes()
        other = None if name in known else spelled_like(name, known)
        if other is not None:
            raise InputError(
                "name-taken",
                f"{name!r} is another spelling of class {other!r}: choose {other!r}, or a name "
                "that differs in more than case, blanks, hyphens and underscores",
            )
        return name

    def classes(self) -> list[str]:
        """Classes of the model, then new ones among the labels."""
        labels = (name for names in self.session.labels.values() for name in names)
        return list(dict.fromkeys((*self.service.model.classes, *labels)))

    def correct(self, clip: Path, name: str) -> str:
        """Put an uploaded clip into the list of labels; returns its class.

        Raises:
            InputError: If the name or the clip is not usable.
        """
        model = self.service.model
        with self.lock:
            name = self.class_named(name)
            folder = self._work / "corrections"
            number = 1 + max((int(one.name) for one in folder.glob("[0-9]*")), default=0)
            encoders = self.service.backbone(model) or model.media_spec
            (key,) = self.pool.add(prepare_one(clip, folder / f"{number:06d}", encoders))
            self.session.label(key, (name,))
            self.session.save()
            return name

    def check_key(self, key: str) -> None:
        """Refuse the key of a clip that is not here."""
        if key not in self.pool:
            raise InputError("file-missing", "this clip is no longer here: load the page again")

    # ------------------------------------------------------------------ learn

    def learned(self, model: Model) -> dict[str, Labels]:
        """The label with which the model learned each clip that it records."""
        with self.lock:
            if self._recorded[0] is not model:
                self._recorded = model, recorded_labels(model)
            return self._recorded[1]

    def pending(self) -> dict[str, Labels]:
        """Labels that the model has not learned, by clip."""
        with self.lock:
            learned = self.learned(self.service.model)
            return {
                key: names
                for key, names in self.session.labels.items()
                if key in self.pool and learned.get(key) != names
            }

    def pending_counts(self) -> Counter[str]:
        """Number of labels by class that are not learned; background has the empty name."""
        return Counter("|".join(names) for names in self.pending().values())

    def learn(self) -> Taught:
        """Learn all labels in one version; earlier labels of the same clips are forgotten.

        Raises:
            InputError: If there is no label to learn, or the model cannot learn them.
        """
        began = time.monotonic()
        with self.lock:
            aside: list[str] = []

            def change(model: Model) -> tuple[Model, Addition]:
                with TemporaryDirectory(prefix="cign-label-") as folder:
                    chosen, kept = clips_to_learn(model, self.pool, self.pending(), Path(folder))
                    aside.extend(kept)
                    return add_chosen(model, chosen, replace_learned=True)

            addition, version = self.service.change(change)
            addition = replace(addition, seconds=time.monotonic() - began)
            if aside:
                note = f"left out, validation clips of the model: {num_clips(len(aside))}"
                addition = replace(addition, notes=(*addition.notes, note))
            for key in aside:
                self.session.skip(key)
            self.session.save()
            return Taught(addition=addition, version=version)

    def join(self, first: str, second: str) -> tuple[str, int]:
        """Make one class of two, here and in the labels; returns a sentence and the version."""
        with self.lock:
            joined, version = self.service.join(first, second)
            self.session.rename(joined.first, joined.second)
            self.session.save()
            words = f"{joined.first} and {joined.second} are one class, {joined.second}, now"
            return f"{words} ({num_clips(joined.num_clips)})", version
