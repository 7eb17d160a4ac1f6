"""The benchmark of real recordings, built from stand-ins with the names of the originals."""

import shutil
from collections import Counter

import numpy as np
import pytest

from benchmark_scripts import BENCHMARKS, script
from cign.data.formats.table import read_table
from cign.errors import InputError
from real_stand_ins import (
    RATE_HZ,
    SETS,
    color_of,
    decode,
    expected_s,
    frequency_of,
    length_of,
    rows_of,
    seed_of,
    write_image,
    write_rows,
    write_sound,
)

CLASSES = ("rooster", "mandolin", "one_sea_horse")
COLOR_ERROR = 8  # levels of 255; JPEG and H.264 shift plain colors by up to 5


@pytest.fixture(scope="module")
def real():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)  # it imports modules beside it
        return script("real")


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Lists with six clips of each of three classes, and three duets with what they need."""
    folder = tmp_path_factory.mktemp("lists")
    taken, chosen = Counter(), set()
    for row in rows_of("real24"):
        place = row["labels"], row["split"]
        if row["labels"] in CLASSES and taken[place] < 2:
            taken[place] += 1
            chosen.add(row["path"])
    duets = rows_of("real24_duets")
    duets = [next(row for row in duets if row["split"] == split) for split in ("train", "val")]
    write_rows(folder / "real24_duets.csv", duets)
    clutter = [row for row in rows_of("real24_clutter") if row["path"] in chosen]
    write_rows(folder / "real24_clutter.csv", clutter)
    chosen |= {row[name] for row in duets for name in ("first", "second")}
    write_rows(folder / "real24.csv", [r for r in rows_of("real24") if r["path"] in chosen])
    return folder


@pytest.fixture(scope="module")
def originals(real, lists, tmp_path_factory):
    """Stand-ins for all originals of the lists, in folders that differ from the lists'."""
    root = tmp_path_factory.mktemp("originals")
    builder = real.Builder(real.Originals(root), rows_of("real24", lists))
    for name in {n for s in SETS for row in rows_of(s, lists) for n in builder.names(row)}:
        kind, rest = name.split("/", 1)
        path = root / kind / "unpacked" / rest
        (write_image if kind == "caltech101" else write_sound)(path, name)
    return root


@pytest.fixture(scope="module")
def built(real, lists, originals, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "real"
    real.main([str(originals), str(out), "--lists", str(lists)])
    return out


def level(samples, frequency_hz):
    """Amplitude of a tone in the middle second."""
    middle = len(samples) // 2
    part = samples[max(0, middle - RATE_HZ // 2) :][:RATE_HZ]
    times_s = np.arange(len(part)) / RATE_HZ
    return 2 * abs(np.mean(part * np.exp(-2j * np.pi * frequency_hz * times_s)))


def assert_length(num_frames, samples, seconds):
    # MP3 frames add up to 50 ms of faint sound before and after the tone.
    assert len(samples) / RATE_HZ == pytest.approx(seconds, abs=0.06)
    assert num_frames in {max(2, round(2 * s)) for s in (seconds, len(samples) / RATE_HZ)}


def test_a_clip_has_the_image_and_the_trimmed_sound(built, lists):
    lengths, shapes = set(), set()
    for row in rows_of("real24", lists):
        image, num_frames, samples = decode(built / "real24" / row["path"])
        name, sound = row["picture_file"], row["sound_file"]
        np.testing.assert_allclose(image.mean((0, 1)), color_of(name), atol=COLOR_ERROR)
        assert image.shape[:2] == ((300, 200), (60, 320))[seed_of(name) % 2]
        assert_length(num_frames, samples, expected_s(sound))
        assert np.abs(samples[:4410]).max() > 0.03  # no silence is left at the start
        lengths.add(expected_s(sound))
        shapes.add(image.shape)
    assert lengths == {0.7, 1.5, 4.0}
    assert len(shapes) == 2


def tile_colors(image):
    """Mean color by (row, column) of a grid of 160 px."""
    grid = image.reshape(image.shape[0] // 160, 160, image.shape[1] // 160, 160, 3)
    return grid[:, 20:-20, :, 20:-20].mean((1, 3))


def test_clutter_has_the_image_in_its_box_and_both_sounds_equally_loud(
    real, built, lists, originals
):
    builder = real.Builder(real.Originals(originals), rows_of("real24", lists))
    solos = {row["path"]: row for row in rows_of("real24", lists)}
    compared, seen = 0, set()
    for clip, row in zip(
        read_table(built / "real24_clutter").clips, rows_of("real24_clutter", lists), strict=True
    ):
        image, num_frames, samples = decode(clip.path)
        solo = solos[row["path"]]
        x, y, right, bottom = clip.boxes[0]
        assert image.shape == (320, 320, 3)
        assert (right - x, bottom - y) == (0.5, 0.5)
        colors, own = tile_colors(image), (int(2 * y), int(2 * x))
        np.testing.assert_allclose(colors[own], color_of(solo["picture_file"]), atol=COLOR_ERROR)
        rest = [colors[at] for at in ((0, 0), (0, 1), (1, 0), (1, 1)) if at != own]
        wanted = [color_of(name) for name in row["others"].split("|")]
        np.testing.assert_allclose(rest, wanted, atol=COLOR_ERROR)
        names = solo["sound_file"], row["noise"]
        assert_length(num_frames, samples, max(2.0, *map(expected_s, names)))
        _, sound = builder.clip(row)
        assert np.abs(sound).max() == pytest.approx(0.9)
        assert np.corrcoef(sound, samples[: len(sound)])[0, 1] > 0.98
        frequencies = [frequency_of(name) for name in names]
        if min(map(length_of, names)) > 1 and abs(np.subtract(*frequencies)) > 100:
            first, second = (level(samples, frequency) for frequency in frequencies)
            assert first / second == pytest.approx(1.0, abs=0.1)
            compared += 1
        seen.add(own)
    assert compared >= 3
    assert len(seen) >= 3


def test_a_duet_has_two_tiles_side_by_side_and_the_labels_of_both(built, lists):
    solos = {row["path"]: row for row in rows_of("real24", lists)}
    clips = read_table(built / "real24_duets").clips
    for clip, row in zip(clips, rows_of("real24_duets", lists), strict=True):
        pair = [solos[row[name]] for name in ("first", "second")]
        assert clip.labels == tuple(solo["labels"] for solo in pair)
        assert clip.source == " + ".join(solo["source"] for solo in pair)
        image, num_frames, samples = decode(clip.path)
        assert image.shape == (160, 320, 3)
        wanted = [color_of(solo["picture_file"]) for solo in pair]
        np.testing.assert_allclose(tile_colors(image)[0], wanted, atol=COLOR_ERROR)
        sounds = [solo["sound_file"] for solo in pair]
        assert_length(num_frames, samples, max(2.0, *map(expected_s, sounds)))


def test_the_table_is_the_list(built, lists):
    for name in SETS:
        assert (built / name / "clips.csv").read_bytes() == (lists / f"{name}.csv").read_bytes()
        listed = {row["path"] for row in rows_of(name, lists)}
        files = {p.relative_to(built / name).as_posix() for p in (built / name).rglob("*.mp4")}
        assert files == listed


def test_building_again_writes_only_what_is_missing(real, built, lists, originals, tmp_path):
    folder = tmp_path / "real24"
    shutil.copytree(built / "real24", folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")}
    removed = sorted(before)[1]
    content = removed.read_bytes()
    removed.unlink()
    (folder / "clips.csv").unlink()
    left = removed.with_name(f".{removed.name}.999999999.0123abcd.tmp")  # of a killed process
    left.write_bytes(b"partial")
    real.main([str(originals), str(tmp_path), "--lists", str(lists), "--sets", "real24"])
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.mp4")}
    assert {path for path in after if after[path] != before[path]} == {removed}
    assert removed.read_bytes() == content
    assert not left.exists()
    assert (folder / "clips.csv").exists()


def test_a_folder_of_another_list_or_of_other_files_is_refused(
    real, built, lists, originals, tmp_path
):
    shutil.copytree(built / "real24", tmp_path / "real24")
    other = tmp_path / "lists"
    shutil.copytree(lists, other)
    write_rows(other / "real24.csv", rows_of("real24", lists)[1:])
    arguments = [str(originals), str(tmp_path), "--sets", "real24", "--lists"]
    with pytest.raises(InputError, match="another list"):
        real.main([*arguments, str(other)])
    (tmp_path / "real24" / "real.json").unlink()
    with pytest.raises(InputError, match="not empty"):
        real.main([*arguments, str(lists)])


def test_missing_originals_are_counted_in_one_sentence(real, lists, originals, tmp_path):
    arguments = [str(tmp_path), str(tmp_path / "out"), "--lists", str(lists), "--sets", "real24"]
    for folder in ("caltech101", "esc10", "fsdd"):
        (tmp_path / folder).symlink_to(originals / folder)
    wanted = sum("philharmonia/" in row["sound_file"] for row in rows_of("real24", lists))
    with pytest.raises(InputError) as caught:
        real.main(arguments)
    assert f"{wanted} originals are missing" in str(caught.value)
    assert f"({wanted} in philharmonia; for example philharmonia/" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_original_that_is_no_media_file_is_named(real, tmp_path):
    path = tmp_path / "image_0001.jpg"
    path.write_text("<html>not found</html>")
    for read in (real.real_clips.read_image, real.real_clips.read_sound):
        with pytest.raises(InputError, match=r"image_0001\.jpg cannot be decoded"):
            read(path)


def test_files_of_esc_50_stand_for_those_of_esc_10(real, tmp_path):
    file = tmp_path / "esc10" / "audio" / "3-134049-A-1.wav"
    file.parent.mkdir(parents=True)
    file.touch()
    assert real.Originals(tmp_path).path("esc10/3-134049-A.ogg") == file
    with pytest.raises(InputError, match="1 in esc10"):
        real.Originals(tmp_path).check({"esc10/3-134049-B.ogg"})
