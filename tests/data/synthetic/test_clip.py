"""Images and audio of a clip: the same for the same seed, and true to its table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cign.synthetic import (
    ClipDraw,
    SynthConfig,
    SyntheticDataset,
    image,
    plan,
    render_audio,
    render_clip,
    render_frames,
    sound,
)
from cign.synthetic import clip as clip_module
from cign.synthetic.config import SAMPLE_RATE_HZ

WORLD = SyntheticDataset(1)
PLAIN = ClipDraw(world=1, seed=0, split="train", class_ids=(0,), index=0)


def test_a_clip_is_its_address() -> None:
    first = render_clip(WORLD, PLAIN)
    again = render_clip(SyntheticDataset(1), replace(PLAIN))
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.audio, again.audio)
    assert first.facts == again.facts
    assert first.frames.shape == (36, 96, 96, 3)
    assert first.frames.dtype == np.uint8
    assert first.audio.shape == (48_000,)
    assert first.audio.dtype == np.int16
    for other in (replace(PLAIN, seed=1), replace(PLAIN, index=1), replace(PLAIN, split="test")):
        assert not np.array_equal(first.frames, render_frames(WORLD, other)[0])
        assert not np.array_equal(first.audio, render_audio(WORLD, other))


def test_the_draws_stay_what_they_were() -> None:
    """Figures taken when generator version 1 was fixed; a change needs a new version."""
    rendered = render_clip(WORLD, PLAIN)
    assert rendered.frames[18].mean(axis=(0, 1)) == pytest.approx((107.91, 110.43, 69.12), abs=0.05)
    assert rendered.audio[::6000] == pytest.approx(
        (-35, 134, 2156, -522, -685, 1391, -997, 575), abs=1
    )


def test_classes_depend_on_the_world_alone() -> None:
    assert SyntheticDataset(1).sound(3) == WORLD.sound(3)
    assert SyntheticDataset(1).look(3) == WORLD.look(3)
    assert SyntheticDataset(2).sound(3) != WORLD.sound(3)
    assert SyntheticDataset(2).look(3) != WORLD.look(3)
    assert WORLD.look(2) != WORLD.look(3)


@pytest.mark.parametrize("variant", ["plain", "duet", "clutter"])
def test_boxes_hold_all_of_the_object_and_no_more(variant: str) -> None:
    clips = plan(SynthConfig(num_classes=4, num_train=16, variant=variant))
    clips = [c for c in clips if c.split == "train" and c.visual_present][-6:]
    for clip in clips:
        facts = clip_module.facts_of(WORLD, clip)
        assert len(facts.boxes) == len(clip.class_ids)
        for number, box in enumerate(facts.boxes):
            changed = _changed_pixels(clip, number)
            rows, columns = np.nonzero(changed)
            x0, y0, x1, y1 = (round(edge * clip.size_px) for edge in box)
            assert x0 <= columns.min() <= x0 + 2
            assert x1 - 3 <= columns.max() < x1
            assert y0 <= rows.min() <= y0 + 2
            assert y1 - 3 <= rows.max() < y1
            if variant != "plain":
                assert (box[2] - box[0]) * (box[3] - box[1]) <= 0.15


def _changed_pixels(clip: ClipDraw, number: int) -> np.ndarray:
    """Where the middle frame differs when one labelled object is left out."""
    times = np.array([1.5], np.float32)
    scene = clip_module._scene(WORLD, clip)
    # Later objects cover earlier ones: compare with nothing else painted over.
    alone = [scene[number]]
    shown = clip_module._paint_scene(WORLD, clip, alone, times)[0][0]
    bare = clip_module._paint_scene(WORLD, clip, [], times)[0][0]
    return np.abs(shown - bare).max(axis=-1) > 0.004


def test_absent_objects_are_absent() -> None:
    clips = [c for c in plan(SynthConfig()) if c.condition == "hidden"][:4]
    for clip in clips:
        facts = clip_module.facts_of(WORLD, clip)
        assert facts.boxes == ()
        assert len(facts.sounds) == 1
        assert render_frames(WORLD, clip, [18])[1] == []


def test_the_interval_holds_the_energy() -> None:
    for class_id in range(6):
        clip = replace(PLAIN, class_ids=(class_id,), variant="clutter")
        source = clip_module._scene(WORLD, clip)[0]
        start_s, end_s = clip_module.facts_of(WORLD, clip).sounds[0]
        assert 0.8 <= end_s - start_s <= 1.5
        track = sound.render_sound(
            WORLD.sound(class_id), source.performance, clip_module._stream(clip, 2), 48_000
        )
        begin, end = round(start_s * SAMPLE_RATE_HZ), round(end_s * SAMPLE_RATE_HZ)
        assert np.count_nonzero(track[:begin]) == np.count_nonzero(track[end:]) == 0
        assert np.mean(track[begin:end] ** 2) == pytest.approx(1.0, rel=1e-3)


def test_a_drowned_sound_is_far_below_the_noise() -> None:
    """With the same draws, leaving the audio out altogether changes next to nothing."""
    clip = replace(PLAIN, condition="drowned")
    tracks = clip_module._scene(WORLD, clip)
    heard = render_audio(WORLD, PLAIN).astype(float)
    drowned = render_audio(WORLD, clip).astype(float)
    draws = clip_module._stream(clip, 2)
    source = sound.render_sound(WORLD.sound(0), tracks[0].performance, draws, 48_000)
    share = [abs(np.corrcoef(source, track)[0, 1]) for track in (drowned, heard)]
    assert share[0] < 0.05 < share[1]
    assert not clip.audio_present


def test_the_object_moves_with_its_sound() -> None:
    """Painted size and place at the notes, against the rests long after them."""
    world, clip = WORLD, replace(PLAIN, variant="clutter", class_ids=(2,))
    source = clip_module._scene(world, clip)[0]
    times = np.arange(0, 3, 1 / 12, dtype=np.float32)
    path = image.follow(world.look(2), source.pose, source.performance, times)
    playing = (times >= source.performance.start_s) & (times < source.performance.end_s)
    assert np.ptp(path.radius[~playing]) == 0
    assert np.ptp(path.y[~playing]) == 0
    assert path.radius[playing].max() > path.radius[~playing].max()
    assert path.y[playing].min() < path.y[~playing].min()


def test_objects_never_leave_the_frame() -> None:
    for clip in plan(SynthConfig(num_classes=4, num_train=16, variant="clutter"))[:24]:
        for source in clip_module._scene(WORLD, clip):
            path = image.follow(
                WORLD.look(source.look_id),
                source.pose,
                source.performance,
                np.arange(0, 3, 1 / 12, dtype=np.float32),
            )
            assert np.all(path.x - path.radius > -1e-6)
            assert np.all(path.x + path.radius < 1 + 1e-6)
            assert np.all(path.y - path.radius > -1e-6)
            assert np.all(path.y + path.radius < 1 + 1e-6)


def test_bystanders_are_of_classes_never_taught() -> None:
    clip = replace(PLAIN, variant="clutter")
    scene = clip_module._scene(WORLD, clip)
    assert scene[0].is_labelled
    assert 1 <= len(scene) - 1 <= 3
    assert all(source.look_id >= 10_000 for source in scene[1:])
