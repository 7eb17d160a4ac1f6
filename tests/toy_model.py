"""A model of six classes in memory, with clips kept beside it."""

from __future__ import annotations

import torch

from cign.data.media.decode import MediaSpec
from cign.open_set.rule import UnknownRule
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import KeptClips
from toy import toy_loop, toy_tokens

NAMES = [f"class {c}" for c in range(6)]


def toy_kept() -> KeptClips:
    """Two clips of each class."""
    labels, audio, visual = toy_tokens(per_class=2, seed=0)
    return KeptClips(
        audio=torch.from_numpy(audio),
        visual=torch.from_numpy(visual),
        labels=tuple((NAMES[c],) for c in labels),
    )


def toy_model() -> Model:
    """Learned in three tasks, in closed form."""
    torch.set_num_threads(1)
    loop = toy_loop("cign_analytic", options={"width": 20}, num_tasks=3)
    loop.run()
    return Model(
        method=loop.method.eval(),
        groups=loop.clips.tasks.groups,
        regime="frozen",
        backbone="small",
        fingerprint="",
        spec=MediaSpec(),
        unknown=UnknownRule(thresholds={"audio_visual": 0.5}),
        kept=toy_kept(),
    )


def scores(model: Model) -> dict[str, torch.Tensor]:
    """What a model says of the same clips."""
    _, audio, visual = toy_tokens(per_class=3, seed=0)
    with torch.no_grad():
        return model.method.predict(torch.from_numpy(audio), torch.from_numpy(visual)).probabilities


def same_answers(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether two models say the same, bit for bit."""
    return all(torch.equal(first[name], second[name]) for name in first)
