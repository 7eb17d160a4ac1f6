"""Validation clips stored with a model to measure the effect of changes; never used for training.

Legend: n clips, N_a and N_v tokens per clip, D_a and D_v their widths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cign.data.batches import ArraySource, BoolArray
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.methods.base import Method
from cign.networks.encoder import TokenShape
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import UnknownRule, fit_rule

# Our choice: enough to detect a forgotten class, and a few MB for a hundred classes.
KEPT_PER_CLASS = 5

# Our choice: two clips are the same if the distance of their tokens, relative to the norm, is
# below this.
SAME_CLIP = 0.01

Labels = Sequence[tuple[str, ...]]
Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class KeptClips:
    """Cached tokens of validation clips.

    Attributes:
        audio: float16, shape [n, N_a, D_a].
        visual: float16, shape [n, N_v, D_v].
        labels: Class names of each clip.
    """

    audio: Tensor
    visual: Tensor
    labels: tuple[tuple[str, ...], ...]

    @property
    def num_clips(self) -> int:
        """Number of clips; at least 1 (a model without validation clips has None)."""
        return len(self.labels)

    @property
    def num_bytes(self) -> int:
        """Size of the tokens in bytes."""
        return sum(part.numel() * part.element_size() for part in (self.audio, self.visual))

    def check_fits(self, shape: TokenShape, where: str) -> None:
        """Check the shape of the tokens.

        Raises:
            InputError: If it does not match.
        """
        expected = (
            (self.audio, (shape.num_audio_tokens, shape.audio_dim)),
            (self.visual, (shape.num_visual_tokens, shape.visual_dim)),
        )
        for tokens, form in expected:
            if tokens.dtype != torch.float16 or tuple(tokens.shape[1:]) != form:
                raise InputError(
                    "damaged", f"{where} does not contain tokens for its model: restore the folder"
                )

    @property
    def source(self) -> ArraySource:
        """Source that reads the clips by index."""
        audio, visual = self.audio.numpy(), self.visual.numpy()
        return ArraySource(
            lambda i: audio[i], lambda i: visual[i], self.num_bytes // self.num_clips
        )

    def counts(self) -> Counter[str]:
        """Number of clips per class; a clip with several labels counts for each."""
        return Counter(name for names in self.labels for name in names)

    def holds(self, audio: Floats, visual: Floats) -> bool:
        """Whether a clip is one of these; see `rows_of`."""
        return bool(self.rows_of(audio, visual))

    def contain(self, audio: Tensor, visual: Tensor) -> BoolArray:
        """Which clips of a batch are some of these, shape [B]; see `rows_of`.

        Args:
            audio: Audio tokens, shape [B, N_a, D_a].
            visual: Visual tokens, shape [B, N_v, D_v].
        """
        means, bounds = self._means_and_bounds
        apart = np.zeros((len(audio), self.num_clips))
        for batch, mean in zip((audio, visual), means, strict=True):
            own = batch.mean(dim=1, dtype=torch.float32).numpy()
            squares = (own**2).sum(axis=1)[:, None] + (mean**2).sum(axis=1)
            apart += batch.shape[1] * (squares - 2 * own @ mean.T)
        # Rounding of the difference of squares is far below the bounds.
        near = np.flatnonzero((apart <= 2 * bounds).any(axis=1))
        found = np.zeros(len(audio), np.bool_)
        for row in near:
            found[row] = self.holds(audio[row].float().numpy(), visual[row].float().numpy())
        return found

    def rows_of(self, audio: Floats, visual: Floats) -> list[int]:
        """Which of these a clip is, robust to the kind of processor; usually one or none.

        Clips with a token distance of at most `SAME_CLIP` count as equal: float16 tokens of one
        file differ by 3e-5 between instruction sets, those of the nearest two of 800 clips by 0.38.

        Args:
            audio: Audio tokens of the clip, shape [N_a, D_a].
            visual: Visual tokens of the clip, shape [N_v, D_v].
        """
        means, bounds = self._means_and_bounds
        # The distance of the means is a lower bound of the distance of the tokens.
        apart = np.zeros(self.num_clips)
        for one, mean in zip((audio, visual), means, strict=True):
            own = one.astype(np.float32).mean(axis=0)
            apart += len(one) * ((mean - own) ** 2).sum(axis=1)
        near = np.flatnonzero(apart <= bounds)
        exact = np.zeros(len(near))
        for one, kept in ((audio, self.audio), (visual, self.visual)):
            exact += ((kept[near].float().numpy() - one.astype(np.float32)) ** 2).sum(axis=(1, 2))
        return [int(row) for row in near[exact <= bounds[near]]]

    @cached_property
    def _means_and_bounds(self) -> tuple[tuple[Floats, Floats], Floats]:
        """Mean tokens per clip, [n, D_a] and [n, D_v]; squared `SAME_CLIP` distances, [n]."""
        parts = (self.audio, self.visual)
        audio, visual = (part.mean(dim=1, dtype=torch.float32).numpy() for part in parts)
        lengths = [torch.linalg.vector_norm(p, dim=(1, 2), dtype=torch.float32) for p in parts]
        squared = sum(length.numpy() ** 2 for length in lengths)
        return (audio, visual), SAME_CLIP**2 * squared

    def renamed(self, old: str, new: str) -> KeptClips:
        """A copy with a class renamed."""
        labels = tuple(tuple(new if n == old else n for n in names) for names in self.labels)
        return replace(self, labels=labels)

    def unknown_rule(self, method: Method) -> UnknownRule:
        """The rule for unknown clips of a method, fitted on these clips."""
        return fit_rule(EvidenceReader(method), self.source, np.arange(self.num_clips))

    def without(self, name: str) -> KeptClips | None:
        """A copy without the clips of a class; None if none is left."""
        return self.without_rows([r for r, names in enumerate(self.labels) if name in names])

    def without_rows(self, rows: Sequence[int]) -> KeptClips | None:
        """A copy without some clips; None if none is left."""
        stay = sorted(set(range(self.num_clips)) - set(rows))
        if not stay:
            return None
        labels = tuple(self.labels[row] for row in stay)
        return KeptClips(audio=self.audio[stay], visual=self.visual[stay], labels=labels)

    def to_bytes(self) -> bytes:
        """The tokens as safetensors; the labels are stored in model.json."""
        return save({"audio": self.audio.contiguous(), "visual": self.visual.contiguous()})

    @classmethod
    def from_bytes(cls, data: bytes, labels: Iterable[Sequence[str]], where: str) -> KeptClips:
        """Read what `to_bytes` wrote.

        Raises:
            InputError: If the data are invalid.
        """
        names = tuple(tuple(some) for some in labels)
        try:
            tensors = load(data)
            kept = cls(audio=tensors["audio"], visual=tensors["visual"], labels=names)
        except (SafetensorError, KeyError) as error:
            raise InputError(
                "damaged", f"{where} cannot be read ({error}): restore the folder"
            ) from None
        if not len(kept.audio) == len(kept.visual) == kept.num_clips:
            raise InputError("damaged", f"{where} does not match model.json: restore the folder")
        return kept


def joined(first: KeptClips | None, second: KeptClips | None) -> KeptClips | None:
    """Concatenate validation clips."""
    if first is None or second is None:
        return first or second
    return KeptClips(
        audio=torch.cat([first.audio, second.audio]),
        visual=torch.cat([first.visual, second.visual]),
        labels=first.labels + second.labels,
    )


def read_kept(source: ArraySource, labels: Labels, indices: IntArray) -> KeptClips | None:
    """Read the tokens of clips; None without clips.

    Args:
        source: Reads cached tokens.
        labels: Class names of all clips of the source.
        indices: The clips to read.
    """
    if len(indices) == 0:
        return None
    return KeptClips(
        audio=torch.from_numpy(source.audio(indices)),
        visual=torch.from_numpy(source.visual(indices)),
        labels=tuple(labels[i] for i in indices),
    )


def choose_kept(labels: Labels, candidates: IntArray, have: Counter[str]) -> IntArray:
    """Choose the first candidates of each class, up to `KEPT_PER_CLASS`.

    Args:
        labels: Labels of all clips.
        candidates: Indices in the order of the source.
        have: Number of clips stored already, per class.

    Returns:
        The chosen indices among ``candidates``.
    """
    have = Counter(have)
    chosen = []
    for index in candidates.tolist():
        if any(have[name] < KEPT_PER_CLASS for name in labels[index]):
            chosen.append(index)
            have.update(labels[index])
    return np.array(chosen, dtype=np.int64)


def validation_clips(
    source: ArraySource, labels: Labels, candidates: IntArray, classes: Iterable[str]
) -> IntArray:
    """Those of the candidates with audio and video whose labels are all in ``classes``."""
    known = set(classes)
    audio, visual = source.availability(candidates)
    whole = candidates[audio & visual]
    return np.array([i for i in whole if known.issuperset(labels[i])], dtype=np.int64)
