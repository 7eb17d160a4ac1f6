"""Which clips there are: shares, exclusivity, and the constraints of the variants."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from cign.errors import InputError
from cign.synthetic import SynthConfig, SyntheticDataset, class_sizes, plan
from cign.synthetic.config import shares


@pytest.mark.parametrize("variant", ["plain", "clutter", "longtail", "openset"])
def test_shares_are_exact_in_every_split(variant: str) -> None:
    config = SynthConfig(num_classes=5, num_train=40, num_val=10, num_test=30, variant=variant)
    clips = plan(config)
    for split in {clip.split for clip in clips}:
        ours = [clip for clip in clips if clip.split == split]
        counts = Counter(clip.condition for clip in ours)
        for condition, share in shares(variant).items():
            assert counts[condition] == round(share * len(ours)), (split, condition)


def test_the_other_modality_is_true() -> None:
    clips = plan(SynthConfig(num_train=100))
    assert all(clip.audio_present or clip.visual_present for clip in clips)
    for clip in clips:
        misled = clip.condition in ("other_sound", "other_picture")
        assert misled == (clip.other_id >= 0)
        assert clip.other_id != clip.class_ids[0]


def test_conditions_are_dealt_by_the_seed() -> None:
    first = [clip.condition for clip in plan(SynthConfig(seed=0))]
    assert first == [clip.condition for clip in plan(SynthConfig(seed=0))]
    assert first != [clip.condition for clip in plan(SynthConfig(seed=1))]


def test_duets_have_two_classes_and_a_third_of_the_training_clips_are_solos() -> None:
    clips = plan(SynthConfig(num_classes=4, num_train=45, variant="duet"))
    assert all(clip.condition == "true" for clip in clips)
    for class_id in range(4):
        train = [c for c in clips if c.split == "train" and c.class_ids[0] == class_id]
        assert sum(len(c.class_ids) == 1 for c in train) == 15
    assert all(len(set(c.class_ids)) == 2 for c in clips if c.split != "train")
    few = plan(SynthConfig(num_classes=4, num_train=12, variant="duet"))
    assert sum(len(c.class_ids) == 1 for c in few if c.split == "train") == 4 * 10


def test_longtail_falls_from_200_to_2_whatever_the_class_order() -> None:
    config = SynthConfig(num_classes=24, num_train=200, variant="longtail")
    sizes = class_sizes(config)
    assert sorted(sizes) != sizes
    assert sorted(sizes, reverse=True) != sizes
    ordered = sorted(sizes, reverse=True)
    assert (ordered[0], ordered[-1]) == (200, 2)
    steps = [a / b for a, b in itertools.pairwise(ordered) if b > 20]
    assert max(steps) / min(steps) < 1.06  # exponential
    train = Counter(c.class_ids[0] for c in plan(config) if c.split == "train")
    assert [train[i] for i in range(24)] == sizes


def test_openset_adds_a_quarter_of_classes_never_taught() -> None:
    clips = plan(SynthConfig(num_classes=12, num_test=10, variant="openset"))
    unknown = [clip for clip in clips if clip.split == "unknown"]
    assert {clip.class_ids[0] for clip in unknown} == {12, 13, 14}
    assert len(unknown) == 30
    assert all(max(c.class_ids[0], c.other_id) < 12 for c in clips if c.split != "unknown")


def test_names_are_unique_safe_and_drawn_by_the_world() -> None:
    names = SyntheticDataset(1).names(300)
    assert len(set(names)) == 300
    assert all(name.isascii() and name.isalpha() and name.islower() for name in names)
    assert SyntheticDataset(1).names(12) == names[:12]
    assert SyntheticDataset(2).names(12) != names[:12]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"num_classes": 1}, "num_classes is 1"),
        ({"num_train": 0}, "num_train is 0"),
        ({"variant": "trio"}, "'trio'"),
        ({"size_px": 97}, "size_px is 97"),
        ({"duration_s": 0.2}, "duration_s is 0.2"),
        ({"world": -1}, "world is -1"),
        ({"variant": "duet", "num_train": 10}, "num_train is 10"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(InputError, match=named):
        SynthConfig(**options)  # type: ignore[arg-type]
