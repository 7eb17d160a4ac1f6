"""Clips of an arrival, as `cign.methods.clip_records.ClipRecords` records them.

Legend: n clips, m scored clips, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from cign.data.tasks import BoolArray, FloatArray, HashArray


@dataclass(frozen=True, kw_only=True)
class RecordedClips:
    """Clips as they were added to the sums.

    Attributes:
        hashes: SHA-256 of their decoded content, uint8, shape [n, 32].
        shares: Shares of their labels, or bool if all labels are certain, shape [n, C].
        weights: Their weights, shape [n]; None if all are 1.
        background: Which of them have none of the classes, shape [n]; None if no clip is one.
    """

    hashes: HashArray
    shares: BoolArray | FloatArray
    weights: FloatArray | None = None
    background: BoolArray | None = None


@dataclass(frozen=True, kw_only=True)
class ScoredLosses:
    """Losses of clips of one arrival that selected settings.

    Attributes:
        rows: Position of each scored clip among the clips of the arrival, shape [m].
        sets: Number of the set with which it was scored, shape [m].
        usable: Which of its labels have a clip left without its sources, bool, shape [m, C].
        losses: Losses by modality, each of shape [m, *settings].
    """

    rows: Tensor
    sets: Tensor
    usable: Tensor
    losses: Mapping[str, Tensor]
