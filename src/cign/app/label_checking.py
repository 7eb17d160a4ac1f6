"""The check of learned labels behind the page: suspicious ones are found again or corrected."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cign.app.label_learning import Labels, labelled
from cign.app.labelling import Labelling, Shown
from cign.errors import InputError
from cign.inference.leave_one_out import check_leaves_out, predict_left_out
from cign.inference.sources import LearnedClips
from cign.labelling.auditing import Doubt, audit_labels
from cign.saved_model.model import Model


class Checking:
    """Suspicious labels among the learned clips that the page has.

    Args:
        labelling: The labels and the model.
    """

    def __init__(self, labelling: Labelling) -> None:
        self._labelling = labelling
        self._doubts: list[tuple[str, Doubt]] = []
        self._total = 0

    def check(self) -> int:
        """Look for suspicious labels (`cign.labelling.auditing`); returns their number.

        A clip is predicted by the solution without it and without the other clips here of its
        source. Labels that were found right before are left out.

        Raises:
            InputError: If no learned clip is here, or the model cannot leave out clips.
        """
        one = self._labelling
        with one.lock:
            model = one.service.model
            check_leaves_out(model)
            learned = one.learned(model)
            keys = [key for key in learned if key in one.pool]
            if not any(learned[key] for key in keys) or len(model.classes) < 2:
                raise InputError(
                    "no-clips",
                    "no learned clip of two classes is here: label and learn some first, or start "
                    "the page with --learned STORE",
                )
            pending = one.pending()
            self._doubts = [
                (key, doubt)
                for key, doubt in self._suspicious(model, keys, learned)
                if one.session.fine.get(key) != learned[key] and key not in pending
            ]
            self._total = len(self._doubts)
            return self._total

    def _suspicious(
        self, model: Model, keys: list[str], learned: Mapping[str, Labels]
    ) -> list[tuple[str, Doubt]]:
        pool = self._labelling.pool
        found = LearnedClips(
            clips=[labelled(pool.clip(key), learned[key]) for key in keys],
            source=pool.source(model, [pool.number(key) for key in keys]),
            candidates=(np.arange(len(keys)),),
            where="this page",
        )
        predictions = predict_left_out(model, found, only_some=True)
        audit = audit_labels(predictions, model.classes, multi_label=False)
        return [(keys[doubt.clip], doubt) for doubt in audit.suspicious]

    def current(self) -> tuple[Shown, str] | None:
        """The clip to decide about now, and the label that it was learned with; None without."""
        if not self._doubts:
            return None
        key, doubt = self._doubts[0]
        shown = Shown(
            key=key,
            name=self._labelling.pool.clip(key).id,
            guesses=((doubt.suggested, doubt.suggested_support or 0.0),),
            number=self._total - len(self._doubts) + 1,
            total=self._total,
        )
        return shown, doubt.label

    def keep(self, key: str) -> None:
        """Decide that the learned label of a clip is right."""
        one = self._labelling
        with one.lock:
            one.check_key(key)
            names = one.learned(one.service.model).get(key)
            if names is not None:
                one.session.fine[key] = names
                one.session.save()
            self._decided(key)

    def correct(self, key: str, name: str) -> None:
        """Give a suspicious clip another label, which `Labelling.learn` learns in place of the old.

        Raises:
            InputError: If the name is not usable.
        """
        with self._labelling.lock:
            self._labelling.label(key, name)
            self._decided(key)

    def correct_to_background(self, key: str) -> None:
        """Decide that a suspicious clip has none of the classes."""
        with self._labelling.lock:
            self._labelling.label_background(key)
            self._decided(key)

    def _decided(self, key: str) -> None:
        self._doubts = [pair for pair in self._doubts if pair[0] != key]
