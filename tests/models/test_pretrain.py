"""The making of the small encoders, on a handful of clips."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from cign.backbones.pretrain.data import _render_job, held_out_clips, middle_frames, training_clips
from cign.backbones.pretrain.training import PretrainConfig, fit_pair, pretrain
from cign.backbones.small import load_small_pair, random_small_pair
from cign.synthetic import ClipDraw, SyntheticDataset
from cign.utils.files import read_json
from cign.utils.progress import Silent


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_clips_are_of_world_0_and_all_variants() -> None:
    clips = training_clips(3, 20, 0)
    assert {clip.world for clip in clips} == {0}
    counts = {v: sum(c.variant == v for c in clips) for v in ("plain", "duet", "clutter")}
    assert counts == {"plain": 36, "duet": 12, "clutter": 12}
    assert all(len(c.class_ids) == 2 for c in clips if c.variant == "duet")
    assert not set(clips) & set(held_out_clips(3, 5, 0))


def test_targets_say_what_every_token_shows() -> None:
    duet = ClipDraw(world=0, seed=0, split="train", class_ids=(0, 2), index=0, variant="duet")
    hidden = ClipDraw(world=0, seed=0, split="train", class_ids=(1,), index=0, condition="hidden")
    misled = ClipDraw(
        world=0, seed=0, split="train", class_ids=(1,), index=1, condition="other_sound", other_id=2
    )
    part = _render_job(([duet, hidden, misled], 3, tuple(middle_frames(2))))
    assert part.frames.shape == (3, 2, 96, 96, 3)
    assert part.visual_targets.shape == (3, 2, 36, 4)
    assert part.audio_targets.shape == (3, 12, 4)
    assert np.allclose(part.audio_targets.sum(-1), 1.0)
    present = part.visual_targets[..., :3].sum(axis=(1, 2)) > 0
    assert present.tolist() == [[True, False, True], [False] * 3, [False, True, False]]
    heard = part.audio_targets[..., :3].sum(axis=1) > 0
    assert heard.tolist() == [[True, False, True], [False, True, False], [False, False, True]]
    assert SyntheticDataset(0).look(0) != SyntheticDataset(0).look(2)


def test_training_moves_both_encoders_and_scores_them() -> None:
    clips = training_clips(2, 5, 0)
    config = PretrainConfig(
        num_classes=2, clips_per_class=5, num_epochs=1, batch_size=4, num_frames=1
    )
    data = _render_job((clips, 2, tuple(middle_frames(1))))
    audio, visual, accuracy = fit_pair(data, data, config, Silent())
    before = random_small_pair(config.seed)
    for encoder, start in zip((audio, visual), before, strict=True):
        assert not encoder.training
        changed = [
            not torch.equal(ours, theirs)
            for ours, theirs in zip(encoder.parameters(), start.parameters(), strict=True)
        ]
        assert all(changed)
        assert all(p.isfinite().all() for p in encoder.parameters())
    assert set(accuracy) == {"audio", "visual", "audio_visual"}
    assert all(0 <= value <= 100 for value in accuracy.values())


def test_random_weights_can_be_written(tmp_path: Path) -> None:
    record = pretrain(tmp_path, PretrainConfig(clips_per_class=0))
    assert record == read_json(tmp_path / "small.json", "record")
    audio, visual = load_small_pair(tmp_path)
    assert audio.project.weight.std() > 0
    assert visual.project.weight.std() > 0
