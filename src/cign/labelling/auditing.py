"""Learned clips whose labels may be wrong.

Each clip is predicted by the solution without all clips of its source, so that neither the clip nor
others of the same recording, which may share its wrong label, support it. To judge a label by a
prediction that has not seen it is the principle of confident learning (Northcutt et al., JAIR
2021), which uses cross-validation; so is the comparison with the mean over the clips of the same
label (their t_j, equation 2), because a model is less certain of some classes than of others. Score
and rule are ours. The prediction is the geometric mean of those from audio and from video, a
logarithmic opinion pool (Genest and Zidek, Statistical Science 1986). How it was chosen, and how
little differs from the audio-visual prediction: docs/decisions/0042-suspicious-labels.md.

Legend: n clips, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cign.data.clips import Clip
from cign.inference.leave_one_out import LearnedPredictions
from cign.layers.fusion import Fusion, fuse, scores_of
from cign.utils.file_text import escape_name
from cign.vocabulary import UNIMODAL

REPLACE, REMOVE, ADD = "replace", "remove", "add"
_MEAN = Fusion(kind="product", temperature=2.0)  # half of the added scores

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A label of a clip, and what may be right instead.

    Attributes:
        clip: Its number among the audited clips.
        kind: ``replace`` a label by another one; of clips with several labels, ``remove`` a label
            or ``add`` one that is missing.
        label: The label in doubt; empty for ``add``.
        suggested: The label that may be right; empty for ``remove``.
        score: t / (t + p), 0..1, for the support p (`support_of`) of what the labels say and the
            mean t of the supports of the same label, or the same missing label, over all clips; 0.5
            is usual.
        support: p.
        suggested_support: Support of the label that is suggested; None for ``remove``.
        is_suspicious: Whether p is below t / C, see `Audit.threshold`.
    """

    clip: int
    kind: str
    label: str
    suggested: str
    score: float
    support: float
    suggested_support: float | None
    is_suspicious: bool


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All learned clips with their most doubtful labels.

    Attributes:
        clips: The clips.
        doubts: One for each clip; two for each clip where clips may have several labels, its
            least probable label and its most probable missing one. The most suspicious first.
            Background has no label to doubt: at most one that is missing.
        not_judged: Numbers of the clips without: a class of theirs has no clip of another source.
        num_classes: C.
        left_out: What was left out to judge a clip: ``sources``, or ``clips`` if no two clips share
            a source.
        notes: What was not decoded, one sentence each.
    """

    clips: tuple[Clip, ...]
    doubts: tuple[Doubt, ...]
    not_judged: tuple[int, ...]
    num_classes: int
    left_out: str
    notes: tuple[str, ...] = ()

    @property
    def threshold(self) -> float:
        """Scores above are suspicious: 1 / C of the usual support, or less."""
        return self.num_classes / (self.num_classes + 1)

    @property
    def suspicious(self) -> tuple[Doubt, ...]:
        """The suspicious ones."""
        return tuple(one for one in self.doubts if one.is_suspicious)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One mapping of plain values for each doubt, in the same order."""
        for one in self.doubts:
            clip = self.clips[one.clip]
            values = asdict(one)
            for name in ("score", "support", "suggested_support"):
                values[name] = None if values[name] is None else round(values[name], 6)
            del values["clip"]
            yield {
                "path": escape_name(str(clip.path)),
                "clip": clip.id,
                "start_s": clip.start_s,
                "end_s": clip.end_s,
                "labels": "|".join(clip.labels),
                **values,
            }

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``cign audit --json`` prints them."""
        return {
            "num_clips": len(self.clips),
            "num_suspicious": len(self.suspicious),
            "threshold": round(self.threshold, 6),
            "left_out": self.left_out,
            "not_judged": [self.clips[i].id for i in self.not_judged],
            "notes": list(self.notes),
            "labels": list(self.rows()),
        }


COLUMNS = (
    *("path", "clip", "start_s", "end_s", "labels"),
    *("kind", "label", "suggested", "score", "support", "suggested_support"),
    "is_suspicious",
)


def audit_labels(
    predictions: LearnedPredictions,
    classes: tuple[str, ...],
    *,
    multi_label: bool,
    notes: tuple[str, ...] = (),
) -> Audit:
    """Rank the labels of the learned clips by how doubtful they are.

    Args:
        predictions: The learned clips, predicted without their sources.
        classes: The classes of the model.
        multi_label: Whether clips may have several labels.
        notes: What was not decoded.
    """
    counted = predictions.is_counted
    rows = np.flatnonzero(counted)
    present = predictions.source.availability(predictions.left_out.indices)
    support = support_of(predictions.probabilities(), *present, multi_label=multi_label)[rows]
    targets = predictions.targets[rows]
    relative = relative_to_usual(support, targets)
    missing = relative_to_usual(1 - support, ~targets)
    least = np.where(targets, relative, np.inf).argmin(axis=1)
    other = np.where(targets, -np.inf, support).argmax(axis=1)
    if multi_label:
        other = np.where(targets, np.inf, missing).argmin(axis=1)
    found: list[tuple[float, Doubt]] = []

    def doubt(row: int, kind: str, value: float, own: float) -> None:
        has_other = kind != REMOVE
        one = Doubt(
            clip=int(rows[row]),
            kind=kind,
            label="" if kind == ADD else classes[least[row]],
            suggested=classes[other[row]] if has_other else "",
            score=1 / (1 + value),
            support=own,
            suggested_support=float(support[row, other[row]]) if has_other else None,
            is_suspicious=value < 1 / len(classes),
        )
        found.append((value, one))

    for row in range(len(rows)):
        if targets[row].any():  # not background
            value, own = float(relative[row, least[row]]), float(support[row, least[row]])
            doubt(row, REMOVE if multi_label else REPLACE, value, own)
        if multi_label and not targets[row].all():
            doubt(row, ADD, float(missing[row, other[row]]), 1 - float(support[row, other[row]]))
    found.sort(key=lambda pair: pair[0])  # the score of very small values is rounded
    return Audit(
        clips=predictions.clips,
        doubts=tuple(one for _, one in found),
        not_judged=tuple(int(i) for i in np.flatnonzero(~counted)),
        num_classes=len(classes),
        left_out="sources" if predictions.left_out.share_sources else "clips",
        notes=notes,
    )


def relative_to_usual(support: Floats, says: Flags) -> Floats:
    """Support p divided by its mean t over the clips whose labels say the same, shape [n, C].

    Args:
        support: Support of each class, or of its absence, shape [n, C].
        says: Whether the labels of a clip say so, shape [n, C].
    """
    sums, counts = (support * says).sum(axis=0), says.sum(axis=0)
    usual = sums / np.maximum(counts, 1)
    return np.asarray(support / np.maximum(usual, np.finfo(np.float64).tiny))


def support_of(
    probabilities: dict[str, Floats],
    has_audio: Flags,
    has_visual: Flags,
    *,
    multi_label: bool,
) -> Floats:
    """Geometric mean of the predictions from audio and from video, shape [n, C].

    Args:
        probabilities: By modality, shape [n, C].
        has_audio: Whether each clip has audio, shape [n].
        has_visual: Whether each clip has video, shape [n].
        multi_label: Whether clips may have several labels; then it is the mean of the log-odds.

    Returns:
        Probabilities; for a clip without one modality those by the other.
    """
    scores = {
        modality: scores_of(torch.from_numpy(probabilities[modality]), multi_label=multi_label)
        for modality in UNIMODAL
    }
    support: Floats = fuse(scores, _MEAN, multi_label=multi_label).double().numpy()
    for modality, alone in (
        ("audio", has_audio & ~has_visual),
        ("visual", has_visual & ~has_audio),
    ):
        support[alone] = probabilities[modality][alone]
    return support
