"""Finding files by name, dividing recordings, writing lists as tables."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from cign.data.clips import Clip
from cign.data.formats import read_source
from cign.data.formats.export import write_clip_table
from cign.data.formats.listing import Listing
from cign.data.formats.lookup import TRIMMED_CLIP, YOUTUBE_CLIP, MediaFinder, Name
from cign.data.formats.splits import SHARES, choose_split, divide_sources
from cign.errors import InputError
from data.conftest import touch
from refusals import input_error

# --- names of files ---


def test_both_conventions_of_names_at_any_depth(tmp_path):
    touch(tmp_path, "x/a_000030.mp4", "b_30.mkv", "y/z/c_30000_40000.MP4", "d_30_40.wav")
    touch(tmp_path, ".hidden/e_000030.mp4", "f_000030.txt")
    finder = MediaFinder([tmp_path], YOUTUBE_CLIP)
    found = {video: finder.find(Name(video, 30, 40), f"{video}_000030") for video in "abcdef"}
    assert [found[video].name for video in "abcd"] == [
        *("a_000030.mp4", "b_30.mkv", "c_30000_40000.MP4", "d_30_40.wav"),
    ]
    assert all(found[video].is_file() for video in "abcd")
    assert found["e"] == tmp_path / "e_000030.mp4"
    assert not found["f"].exists()
    (note,) = finder.notes()
    assert "VIDEO_000030 1, VIDEO_30 1, VIDEO_30_40 1, VIDEO_30000_40000 1" in note


def test_pictures_go_before_sound_alone(tmp_path):
    touch(tmp_path, "audio/a.wav", "video/a.mp4", "zzz/a.mp4")
    finder = MediaFinder([tmp_path], TRIMMED_CLIP)
    assert finder.find(Name("a", 1, 11), "a") == tmp_path / "video" / "a.mp4"
    assert "2 media files have the same name as another" in finder.notes()[1]


def test_the_first_media_folder_counts_and_links_may_lead_back(tmp_path):
    touch(tmp_path, "one/a_000001.mp4", "two/a_000001.mp4", "two/b_000001.mp4")
    (tmp_path / "two" / "loop").symlink_to(tmp_path / "two")
    finder = MediaFinder([tmp_path / "one", tmp_path / "two"], YOUTUBE_CLIP)
    assert finder.find(Name("a", 1, 11), "").parent == tmp_path / "one"
    assert finder.find(Name("b", 1, 11), "").parent == tmp_path / "two"


# --- corrected splits ---


def clips_of(sizes: dict[str, tuple[str, ...]]) -> list[Clip]:
    """One clip per label of each recording."""
    return [
        Clip(id=f"{source}_{n}", path=Path(source), labels=(label,), split="train", source=source)
        for source, labels in sizes.items()
        for n, label in enumerate(labels)
    ]


def test_shares_are_kept_within_a_point_in_every_class():
    draw = random.Random(0)
    recordings = {}
    for name, num in (("a", 400), ("b", 150), ("c", 1000)):
        for n in range(num):
            recordings[f"{name}{n}"] = (name,) * draw.choice([1, 1, 1, 1, 2, 7])
    recordings |= {f"mixed{n}": ("a", "b", "b") for n in range(20)}
    clips = clips_of(recordings)
    split_of = divide_sources(clips, SHARES)
    assert set(split_of) == set(recordings)
    counts = Counter((clip.labels[0], split_of[clip.source]) for clip in clips)
    for name in "abc":
        total = sum(counts[name, split] for split in SHARES)
        for split, share in SHARES.items():
            assert abs(counts[name, split] / total - share) < 0.01
    # Recordings of many clips are in every split, not in train alone.
    big = Counter(split_of[s] for s, labels in recordings.items() if len(labels) == 7)
    assert min(big[split] for split in SHARES) >= 10
    shuffled = clips.copy()
    draw.shuffle(shuffled)
    assert divide_sources(shuffled, SHARES) == split_of


def test_a_class_of_400_clips_keeps_40_for_test():
    clips = clips_of({str(n): ("a",) for n in range(400)})
    assert Counter(divide_sources(clips, SHARES).values()) == {"train": 320, "val": 40, "test": 40}


def test_a_class_of_a_few_long_recordings_has_every_split():
    clips = clips_of(dict.fromkeys("xyz", ("a",) * 10))
    assert sorted(divide_sources(clips, SHARES).values()) == ["test", "train", "val"]
    clips = clips_of(dict.fromkeys("xy", ("a",) * 10))
    assert sorted(divide_sources(clips, SHARES).values()) == ["test", "train"]
    assert divide_sources(clips_of({"x": ("a",)}), SHARES) == {"x": "train"}


def test_kinds_of_splits():
    listing = Listing(clips=tuple(clips_of({str(n): ("a",) for n in range(10)})))
    assert choose_split(listing, None, "x") is listing
    assert choose_split(listing, "historical", "x") is listing
    with input_error("unknown-name", "historical, corrected"):
        choose_split(listing, "official", "x")


def test_a_table_can_be_divided_anew(tmp_path):
    rows = [
        f"{n}.mp4,{'ab'[n % 2]},{'test' if n < 30 else 'train'},film{n // 4}" for n in range(80)
    ]
    rows.append("u.mp4,odd,unknown,filmU")
    (tmp_path / "list.csv").write_text("\n".join(["path,labels,split,source", *rows]))
    table = read_source(tmp_path / "list.csv", split="corrected")
    assert [clip.id for clip in table.clips] == [*(f"{n}.mp4" for n in range(80)), "u.mp4"]
    assert table.clips[-1].split == "unknown"
    splits = {}
    for clip in table.clips:
        splits.setdefault(clip.source, set()).add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    assert table.counts()["test"] == {"a": 4, "b": 4}


# --- tables ---


def test_a_written_table_reads_the_same(tmp_path):
    rows = [
        "path,labels,split,start_s,end_s,source,box,sound_start_s,sound_end_s",
        'a/x.mp4,"cat, wild|dog",train,1.5,4,film,"0,0,0.5,1|0.1,0,1,1",0|1,2|3',
        "a/y.mp4,dog,test,,,,,,",
    ]
    touch(tmp_path, "a/x.mp4", "a/y.mp4")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    table = read_source(tmp_path / "list.csv", require_train=False)
    write_clip_table(table, tmp_path / "new.csv", [tmp_path])
    again = read_source(tmp_path / "new.csv", require_train=False)
    assert again.clips == table.clips
    assert again.list_hash == table.list_hash
    write_clip_table(table, tmp_path / "new.csv", [tmp_path])  # its own kind is replaced
    for name, message in (
        ("list.txt", r"ends in \.csv"),
        ("other.csv", "is not a table written by cign"),
    ):
        (tmp_path / name).write_text("mine")
        with pytest.raises(InputError, match=message):
            write_clip_table(table, tmp_path / name)
        assert (tmp_path / name).read_text() == "mine"


def test_two_labels_of_one_file_do_not_fit_a_table(tmp_path):
    lines = "Man&both&good&0&6\nWoman&both&good&0&6\n"
    (tmp_path / "Annotations.txt").write_text(lines)
    (tmp_path / "valSet.txt").write_text("Man&v&good&0&6\n")
    (tmp_path / "testSet.txt").write_text("Man&t&good&0&6\n")
    (tmp_path / "Annotations.txt").rename(tmp_path / "trainSet.txt")
    table = read_source(tmp_path, split="historical")
    with input_error("unsupported", "--split"):
        write_clip_table(table, tmp_path / "new.csv")
    assert not (tmp_path / "new.csv").exists()
