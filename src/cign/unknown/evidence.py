"""What a method says of clips besides probabilities, from which unknown scores are computed.

Methods in closed form own a Gram matrix and scores that are not normalised; all others give
probabilities alone.

Legend: B clips, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from cign.methods.analytic import Analytic
from cign.methods.base import READINGS, Method, Scores
from cign.methods.cign_analytic import CignAnalytic
from cign.unknown.scores import Leverage, Mahalanobis

MODALITIES = ("audio", "visual")
# Ours: of the scatter within classes, which has fewer directions than random features.
SCATTER_RIDGE = 1000.0


@dataclass(kw_only=True)
class Evidence:
    """Of a batch, for each reading.

    Attributes:
        probabilities: As `Method.predict` gives them, shape [B, C].
        logits: What they were made of, shape [B, C]; empty where a method has none of its own.
        scores: Ridge scores, about 0..1, shape [B, C]; empty likewise.
        leverage: See `Leverage`, shape [B]; that of both modalities is their sum.
        distance: Squared Mahalanobis distance to the nearest class, shape [B]; empty unless asked
            for.
    """

    probabilities: Scores
    logits: Scores = field(default_factory=dict)
    scores: Scores = field(default_factory=dict)
    leverage: Scores = field(default_factory=dict)
    distance: Scores = field(default_factory=dict)


class EvidenceReader:
    """Reads clips by a method, with factorised matrices kept from one batch to the next.

    Args:
        method: In evaluation mode; it must not learn on while the reader is used.
        with_leverage: Whether leverage is wanted, where the method can give it.
        with_distance: Whether Mahalanobis distances are wanted, where the method can give them.
    """

    def __init__(
        self, method: Method, *, with_leverage: bool = True, with_distance: bool = False
    ) -> None:
        self.method = method
        self.with_leverage = with_leverage and self.has_statistics
        self.with_distance = with_distance and self.has_distance

    @property
    def has_statistics(self) -> bool:
        """Whether the method holds a Gram matrix and gives logits."""
        return isinstance(self.method, Analytic)

    @property
    def has_distance(self) -> bool:
        """Whether class means follow from what the method holds."""
        return isinstance(self.method, CignAnalytic) and not self.method.setup.multi_label

    @torch.no_grad()
    def read(self, audio: Tensor, visual: Tensor) -> Evidence:
        """Read a batch, given as `Method.predict` takes it."""
        method = self.method
        if not isinstance(method, Analytic):
            return Evidence(probabilities=method.predict(audio, visual))
        if isinstance(method, CignAnalytic):
            audio, visual = method.tokens(audio, visual)  # of adapted encoders, once
        features = self._features(method, audio, visual)
        scores = _scores(method, features, audio, visual)
        logits = {reading: method.logits(values) for reading, values in scores.items()}
        probabilities = method.probabilities(logits)
        leverage, distance = {}, {}
        if self.with_leverage:
            leverage = {name: self._leverage[name](features[name]) for name in MODALITIES}
            leverage["audio_visual"] = leverage["audio"] + leverage["visual"]
        if self.with_distance:
            apart = {name: self._mahalanobis[name](features[name]) for name in MODALITIES}
            apart["audio_visual"] = apart["audio"] + apart["visual"]
            distance = {name: values.amin(dim=-1) for name, values in apart.items()}
        for parts in (scores, logits):
            if "audio_visual" not in parts:
                parts["audio_visual"] = parts["audio"] + parts["visual"]
        return Evidence(
            probabilities=probabilities,
            logits=logits,
            scores=scores,
            leverage=leverage,
            distance=distance,
        )

    @staticmethod
    def _features(method: Analytic, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
        """The features of clips that the Gram matrices are sums over, each [B, W]."""
        if not isinstance(method, CignAnalytic):
            return method.random_features(audio, visual, torch.float32)
        pooled = {}
        for name, tokens in zip(MODALITIES, (audio, visual), strict=True):
            tokens = method.contrasted(name, tokens.float())
            shares = method.shares(name, tokens).unsqueeze(1)
            pooled[name] = (shares @ method.features[name](tokens)).squeeze(1)
        return pooled

    def measures(self) -> dict[str, Leverage | Mahalanobis]:
        """What is wanted of leverage and distance, by name and modality; made if need be."""
        found: dict[str, Leverage | Mahalanobis] = {}
        if self.with_leverage:
            found |= {f"leverage_{name}": one for name, one in self._leverage.items()}
        if self.with_distance:
            found |= {f"distance_{name}": one for name, one in self._mahalanobis.items()}
        return found

    @cached_property
    def _leverage(self) -> dict[str, Leverage]:
        method = self._closed_form
        return {name: Leverage(_gram(method, name), method.ridge_of(name)) for name in MODALITIES}

    @cached_property
    def _mahalanobis(self) -> dict[str, Mahalanobis]:
        method = self._closed_form
        assert isinstance(method, CignAnalytic)
        sums = {name: method.statistics[name].get_buffer for name in MODALITIES}
        return {
            name: Mahalanobis(of("gram"), of("cross"), method.class_clips, SCATTER_RIDGE)
            for name, of in sums.items()
        }

    @property
    def _closed_form(self) -> Analytic:
        assert isinstance(self.method, Analytic)
        return self.method


def _scores(method: Analytic, features: dict[str, Tensor], audio: Tensor, visual: Tensor) -> Scores:
    """The ridge scores that `predict` makes its probabilities of, by the same products."""
    if isinstance(method, CignAnalytic):
        scores = {}
        for name, tokens in zip(MODALITIES, (audio, visual), strict=True):
            of_tokens, assigned = method.token_scores(name, tokens)
            scores[name] = (assigned * of_tokens).sum(dim=1)
        return scores
    return {name: features[name] @ method.get_buffer(f"{name}_weights") for name in method.solved}


def _gram(method: Analytic, name: str) -> Tensor:
    """The Gram matrix of a modality, which may be a block of the concatenation's."""
    if name in method.statistics:
        return method.statistics[name].get_buffer("gram")
    width, number = method.options.width, READINGS.index(name)
    block = slice(number * width, (number + 1) * width)
    return method.statistics["audio_visual"].get_buffer("gram")[block, block]
