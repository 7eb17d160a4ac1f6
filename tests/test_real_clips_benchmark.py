"""Construction and lists of the benchmark of real recordings; built sets, where there are some."""

import os
from collections import Counter, defaultdict
from pathlib import Path

import av
import numpy as np
import pytest

from benchmark_scripts import script
from cign.errors import InputError
from real_stand_ins import RATE_HZ, SETS, decode, rows_of

BUILT = os.environ.get("CIGN_REAL", "")
construction = script("real_clips")


def test_the_loudest_four_seconds_are_taken_in_steps_of_50_ms():
    sound = 0.1 * np.ones(10 * RATE_HZ)
    sound[round(5.02 * RATE_HZ) : round(9.02 * RATE_HZ)] = 0.5
    cut = construction.shorten(sound)
    assert len(cut) == 4 * RATE_HZ
    # The start nearest to 5.02 s is 5.00 s: 0.02 s of the quiet part remain.
    assert (cut == 0.1).sum() == round(0.02 * RATE_HZ)


def test_silence_below_two_percent_of_the_peak_is_trimmed_at_both_ends():
    second = np.ones(RATE_HZ)
    sound = np.concatenate(
        [0.019 * second, 0.021 * second, second, 0.0 * second, second, 0 * second]
    )
    np.testing.assert_array_equal(construction.shorten(sound), sound[RATE_HZ : 5 * RATE_HZ])
    short = construction.shorten(second[:4410])
    assert len(short) == round(0.7 * RATE_HZ)
    assert not short[4410:].any()


def test_a_mix_repeats_the_shorter_sound_at_the_same_level():
    rng = np.random.default_rng(0)
    first, second = 0.01 * rng.standard_normal(RATE_HZ), rng.standard_normal(3 * RATE_HZ)
    mixed = construction.mix(first, second)
    assert len(mixed) == 3 * RATE_HZ
    assert np.abs(mixed).max() == pytest.approx(0.9)
    sounds = np.stack([np.tile(first, 3), second])
    (a, b), *_ = np.linalg.lstsq(sounds.T, mixed, rcond=None)
    assert a * np.std(sounds[0]) == pytest.approx(b * np.std(sounds[1]), rel=1e-2)
    assert len(construction.mix(first[:4410], second[:4410])) == 2 * RATE_HZ


@pytest.mark.parametrize("box", ["0.0,0.0,1.0,1.0", "0.25,0.0,0.75,0.5"])
def test_a_box_that_is_no_tile_is_refused(box):
    with pytest.raises(InputError, match="none of the four tiles"):
        construction.tile_of(box)


@pytest.mark.parametrize("name", SETS)
def test_no_source_of_a_list_is_in_two_splits(name):
    splits, counts = defaultdict(set), Counter()
    for row in rows_of(name):
        counts[row["split"]] += 1
        for source in row["source"].split(" + "):
            splits[source].add(row["split"])
    assert counts == {"train": 725, "val": 188, "test": 315}
    assert len(splits) == 678
    assert all(len(found) == 1 for found in splits.values())


def test_each_original_is_used_by_one_clip_and_clutter_by_no_class():
    rows = rows_of("real24")
    own = {row[column] for row in rows for column in ("picture_file", "sound_file")}
    assert len(own) == 2 * len(rows)
    categories = {row["picture_file"].split("/")[1] for row in rows}
    solos = {row["path"]: row for row in rows}
    for row in rows_of("real24_clutter"):
        others = row["others"].split("|")
        assert len({*others}) == 3
        assert not categories & {name.split("/")[1] for name in others}
        assert row["noise"] not in own
        assert [row[k] for k in ("labels", "split", "source")] == [
            solos[row["path"]][k] for k in ("labels", "split", "source")
        ]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.skipif(not BUILT, reason="CIGN_REAL names no folder with built sets")
def test_built_sets_have_the_clips_of_the_lists(name):
    folder = Path(BUILT) / name
    built = rows_of("clips", folder)
    columns = [c for c in built[0] if c not in ("picture_file", "sound_file", "others", "noise")]
    assert [[row[c] for c in columns] for row in built] == [
        [row[c] for c in columns] for row in rows_of(name)
    ]
    for row in built[:: len(built) // 12]:
        image, num_frames, samples = decode(folder / row["path"])
        assert num_frames == len(construction.to_frames(image, len(samples)))
        assert 0.69 < len(samples) / RATE_HZ < 4.01
        if name == "real24":
            continue
        paths = [row[c] for c in ("first", "second") if c in row] or [row["path"]]
        pairs = [decode(Path(BUILT) / "real24" / path) for path in paths]
        if name == "real24_duets":
            mixed = construction.mix(*(sound for _, _, sound in pairs))
            assert len(mixed) == pytest.approx(len(samples), abs=50)
            tiles = [image[:, :160], image[:, 160:]]
        else:
            tile = construction.tile_of(row["box"])
            y, x = 160 * (tile // 2), 160 * (tile % 2)
            tiles = [image[y : y + 160, x : x + 160]]
        for found, (solo, _, _) in zip(tiles, pairs, strict=True):
            frame = av.VideoFrame.from_ndarray(solo.astype(np.uint8), format="rgb24")
            assert np.abs(construction.to_square(frame, 160) - found).mean() < 12
