"""Trains the small encoder pair: ``python -m cign.backbones.pretrain.training``. All of it is ours.

Each encoder learns to classify the classes of synthetic dataset 0 in two ways: by the mean score of
its tokens (as in a later linear classifier on pooled tokens) and by every single token (as needed
for maps). The target of a token is the class of the object in its patch or of the sound in its
quarter second, or the background.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from cign.backbones.pretrain.batches import AudioBatches, VisualBatches
from cign.backbones.pretrain.data import (
    PretrainSet,
    held_out_clips,
    middle_frames,
    render_set,
    training_clips,
)
from cign.backbones.small import (
    AUDIO_FILE,
    MOST_BLOCKS,
    RECORD_FILE,
    SHIPPED_WEIGHTS,
    VISUAL_FILE,
    SmallAudioEncoder,
    SmallShape,
    SmallVisualEncoder,
    random_small_pair,
)
from cign.errors import CignError, InputError
from cign.utils.files import replacing, write_json
from cign.utils.progress import Progress, Silent

_PROGRESS_LOCK = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Training configuration of the pair.

    Attributes:
        num_classes: Number of classes of synthetic dataset 0.
        clips_per_class: Training clips per class; 0 leaves the weights random.
        num_epochs: Passes over the training clips.
        batch_size: Clips per step.
        learning_rate: Peak of AdamW; warmed up over a tenth of the steps, then a cosine to 0.
        weight_decay: Weight decay of AdamW.
        token_weight: Weight of the loss of single tokens relative to that of whole clips.
        label_smoothing: Label smoothing in the loss of whole clips.
        num_frames: Frames rendered of each clip; each epoch uses one of them.
        num_held_out: Clips per class for the recorded accuracy.
        seed: Seed of weights, clips and batches.
        bf16: Whether to train in bfloat16 where autocast allows it.
        depth: See `SmallShape`.
        patches: See `SmallShape`.
    """

    num_classes: int = 40
    clips_per_class: int = 100
    num_epochs: int = 14
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    token_weight: float = 1.0
    label_smoothing: float = 0.05
    num_frames: int = 3
    num_held_out: int = 15
    seed: int = 0
    bf16: bool = True
    depth: int = SmallShape.depth
    patches: bool = SmallShape.patches

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise InputError("bad-value", f"classes is {self.num_classes}: use 2 or more")
        if self.clips_per_class < 0:
            clips = self.clips_per_class
            raise InputError("bad-value", f"clips is {clips}: use 0 (random weights) or more")
        if not 1 <= self.depth <= MOST_BLOCKS:
            raise InputError("bad-value", f"depth is {self.depth}: use 1 to {MOST_BLOCKS}")

    @property
    def shape(self) -> SmallShape:
        """The shape of the pair."""
        return SmallShape(depth=self.depth, patches=self.patches)


def pretrain(
    out: Path, config: PretrainConfig, *, num_workers: int = 2, progress: Progress | None = None
) -> dict[str, Any]:
    """Render clips of synthetic dataset 0, train the pair on them, and write weights and a record.

    Args:
        out: Folder for ``audio.safetensors``, ``visual.safetensors`` (float16) and ``small.json``.
        config: Training configuration.
        num_workers: Number of rendering processes.
        progress: Receives the number of clips rendered and steps done.

    Returns:
        The record: configuration, held-out accuracy (percent) and seconds.
    """
    progress = progress or Silent()
    start = time.perf_counter()
    accuracy: dict[str, float] = {}
    if config.clips_per_class == 0:
        audio, visual = random_small_pair(config.seed, config.shape)
    else:
        clips = training_clips(config.num_classes, config.clips_per_class, config.seed)
        tests = held_out_clips(config.num_classes, config.num_held_out, config.seed)
        train_set = render_set(
            clips,
            config.num_classes,
            middle_frames(config.num_frames),
            num_workers=num_workers,
            progress=progress,
        )
        test_set = render_set(
            tests, config.num_classes, middle_frames(1), num_workers=num_workers, progress=progress
        )
        audio, visual, accuracy = fit_pair(train_set, test_set, config, progress)
    save_weights(out / AUDIO_FILE, audio)
    save_weights(out / VISUAL_FILE, visual)
    record = {
        "format": 1,
        "world": 0,
        "config": asdict(config),
        "held_out_accuracy": accuracy,
        "seconds": round(time.perf_counter() - start, 1),
    }
    write_json(out / RECORD_FILE, record)
    return record


def save_weights(path: Path, encoder: nn.Module) -> None:
    """Write the weights of an encoder in float16."""
    from safetensors.torch import save

    state = {key: value.half().contiguous() for key, value in encoder.state_dict().items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save(state))


def fit_pair(
    train_set: PretrainSet, test_set: PretrainSet, config: PretrainConfig, progress: Progress
) -> tuple[SmallAudioEncoder, SmallVisualEncoder, dict[str, float]]:
    """Train both encoders; return them and their accuracy on held-out clips in percent."""
    audio, visual = random_small_pair(config.seed, config.shape)
    audio_batches = AudioBatches(train_set, torch.Generator().manual_seed(config.seed))
    visual_batches = VisualBatches(train_set, torch.Generator().manual_seed(config.seed))
    progress.start("Training the encoders", 2 * _num_steps(audio_batches.num_clips, config))
    # Training in parallel with one core each is faster than in sequence with two cores each. The
    # number of threads is a setting per thread.
    # Unfused attention: the backward pass of the fused kernel is slow in bfloat16 on a CPU.
    with (
        sdpa_kernel(SDPBackend.MATH),
        ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        jobs = [
            pool.submit(_fit, audio, audio_batches, config, progress),
            pool.submit(_fit, visual, visual_batches, config, progress),
        ]
        audio_head, visual_head = (job.result() for job in jobs)
    progress.stop()
    audio_scores = _scores(audio, audio_head, test_set.audio)
    visual_scores = _scores(visual, visual_head, test_set.frames)
    modalities = {
        "audio": audio_scores,
        "visual": visual_scores,
        "audio_visual": audio_scores.log_softmax(-1) + visual_scores.log_softmax(-1),
    }
    labels = torch.from_numpy(test_set.labels)
    hits = {name: (s.argmax(-1) == labels).float().mean().item() for name, s in modalities.items()}
    return audio, visual, {name: round(100.0 * share, 1) for name, share in hits.items()}


def _loss(logits: Tensor, targets: Tensor, config: PretrainConfig) -> Tensor:
    """Cross-entropy of the mean scores of clips, and of tokens.

    Args:
        logits: Logits, ``[B, P, C + 1]``.
        targets: Targets, ``[B, P, C + 1]``; rows of zeros are excluded.
        config: Configuration with the weight of the token loss.
    """
    losses = -(targets * logits.log_softmax(-1)).sum(-1)
    is_object = targets[..., :-1].sum(-1) > 0
    is_background = targets[..., -1] > 0
    # Both means have the same weight, even if few tokens contain an object or sound.
    token_loss = 0.5 * (_mean(losses, is_object) + _mean(losses, is_background))
    present = (targets[..., :-1].sum(1) > 0).float()  # [B, C]; zeros for an empty or drowned clip
    has_class = present.sum(-1) > 0
    clip_targets = present[has_class] / present[has_class].sum(-1, keepdim=True)
    clip_loss = F.cross_entropy(
        logits[has_class].mean(1)[:, :-1], clip_targets, label_smoothing=config.label_smoothing
    )
    return clip_loss + config.token_weight * token_loss


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """The mean of the values in a mask; 0 for an empty mask."""
    return (values * where).sum() / where.sum().clamp(min=1)


def _fit(
    encoder: SmallAudioEncoder | SmallVisualEncoder,
    batches: AudioBatches | VisualBatches,
    config: PretrainConfig,
    progress: Progress,
) -> nn.Linear:
    """Train one encoder in place; return the head it was trained with."""
    head = nn.Linear(encoder.width, config.num_classes + 1)
    encoder.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = [*encoder.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=config.weight_decay)
    num_steps = _num_steps(batches.num_clips, config)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=max(num_steps, 2), pct_start=0.1
    )
    for _ in range(config.num_epochs):
        order = torch.randperm(batches.num_clips, generator=batches.generator).numpy()
        for i in range(0, len(order) - config.batch_size + 1, config.batch_size):
            x, targets = batches.batch(np.sort(order[i : i + config.batch_size]))
            with torch.autocast("cpu", torch.bfloat16, enabled=config.bf16):
                tokens = encoder(x)
            loss = _loss(head(tokens.float()), targets, config)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            with _PROGRESS_LOCK:
                progress.advance()
    encoder.eval()
    return head


def _num_steps(num_clips: int, config: PretrainConfig) -> int:
    return config.num_epochs * (num_clips // config.batch_size)


@torch.inference_mode()
def _scores(encoder: nn.Module, head: nn.Module, inputs: NDArray[Any]) -> Tensor:
    """Scores of whole clips, ``[N, C]``."""
    parts = [head(encoder(torch.from_numpy(part)).mean(1)) for part in _chunks(inputs, 64)]
    return torch.cat(parts)[:, :-1]


def _chunks(array: NDArray[Any], size: int) -> list[NDArray[Any]]:
    return [array[i : i + size] for i in range(0, len(array), size)]


class _Lines:
    """Progress as plain lines on standard error, one per tenth of a stage."""

    def start(self, title: str, total: int) -> None:
        self.title, self.total, self.done, self.begin = title, total, 0, time.perf_counter()

    def advance(self, steps: int = 1) -> None:
        before, self.done = self.done, self.done + steps
        if before * 10 // self.total != self.done * 10 // self.total:
            seconds = time.perf_counter() - self.begin
            self.note(f"{self.title}: {self.done} of {self.total} ({seconds:.0f} s)")

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def stop(self) -> None:
        pass


def main() -> None:
    """Run from the command line."""
    defaults = PretrainConfig()
    parser = argparse.ArgumentParser(
        prog="python -m cign.backbones.pretrain.training", description=__doc__
    )
    parser.add_argument("--out", type=Path, default=SHIPPED_WEIGHTS)
    parser.add_argument("--classes", type=int, default=defaults.num_classes)
    parser.add_argument("--clips", type=int, default=defaults.clips_per_class, help="per class")
    parser.add_argument("--epochs", type=int, default=defaults.num_epochs)
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--depth", type=int, default=defaults.depth, help="transformer blocks")
    parser.add_argument(
        "--patches", action="store_true", help="linear patches instead of convolutions"
    )
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    try:
        config = PretrainConfig(
            num_classes=options.classes,
            clips_per_class=options.clips,
            num_epochs=options.epochs,
            seed=options.seed,
            depth=options.depth,
            patches=options.patches,
        )
        record = pretrain(options.out, config, num_workers=options.workers, progress=_Lines())
    except CignError as error:
        sys.exit(f"error: {error}")
    print(record["held_out_accuracy"], f"{record['seconds']} s")


if __name__ == "__main__":
    main()
