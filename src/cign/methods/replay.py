"""Base of methods that add as many exemplars to each batch as it has new clips."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from cign.methods.base import Batch, TaskData
from cign.methods.finetune import Finetune
from cign.methods.phases import Phase
from cign.utils.seeding import per_clip


class WithReplay(Finetune):
    """A method whose batches consist of ``training.batch_size`` new clips and draws from memory.

    Class attributes:
        num_draws: Number of draws per batch, each of ``training.batch_size`` exemplars.
    """

    needs_memory: ClassVar[bool] = True
    num_draws: ClassVar[int] = 1

    def phases(self, data: TaskData) -> list[Phase]:
        """One pass is over the new clips; each batch also has the draws from memory."""
        training = self.options.training
        num_replay = self.num_draws * training.batch_size if len(data.memory) else 0
        return [
            Phase(
                name="train",
                indices=data.new,
                options=training,
                replay=data.memory,
                num_replay=num_replay,
            )
        ]

    def part_weights(self, batch: Batch, phase: Phase) -> tuple[Tensor, ...]:
        """Weights that turn a mean over the batch into the mean over a part of it.

        Exemplars belong to the draws in turn, by their position in the batch. Sizes are those of
        the whole batch, so that several processes can share it.

        Returns:
            Weights of the new clips, then those of each draw, shape [B] each; zero outside the
            part.
        """
        num_replay, num_draws = phase.num_replay, self.num_draws

        def weights_of(num_clips: int) -> Tensor:
            weights = torch.zeros(num_clips, 1 + num_draws)
            weights[:, 0] = num_clips / (num_clips - num_replay)
            share = num_clips * num_draws / num_replay if num_replay else 1.0
            for draw in range(num_draws):
                weights[draw::num_draws, 1 + draw] = share
            return weights

        weights = per_clip(weights_of, len(batch.indices)).to(batch.audio.device)
        old = batch.from_memory
        return (weights[:, 0] * ~old, *(column * old for column in weights[:, 1:].unbind(dim=1)))
