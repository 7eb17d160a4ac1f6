"""Which recordings of real24 `examples/clips.py` copies for the tutorials."""

import csv
from pathlib import Path

import pytest

import pages
from real_stand_ins import rows_of, write_rows


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A folder of the built set whose clips hold their own paths; the tests run beside it."""
    rows = rows_of("real24")
    for row in rows:
        path = tmp_path / "built" / "real24" / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(row["path"])
    write_rows(tmp_path / "built" / "real24" / "clips.csv", rows)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("CIGN_REAL", str(tmp_path / "built"))
    return {row["path"]: row for row in rows}


def copied(built, pattern):
    """The rows of the list that were copied to files of a pattern."""
    return [built[path.read_text()] for path in sorted(Path().glob(pattern))]


def test_the_tutorial_has_the_sizes_of_the_page_and_disjoint_sources(built, capsys):
    pages.example_clips("tutorial")
    assert capsys.readouterr().out == "real recordings\n"
    folders = sorted(Path().glob("*/*/*"))
    assert len(folders) == 3 * (6 + 2)
    for folder in folders:
        expected = {"train": 8, "val": 2, "test": 4}[folder.parent.name]
        clips = copied(built, f"{folder}/*.mp4")
        assert len(clips) == expected
        assert {clip["labels"] for clip in clips} == {folder.name}
    by_split = {
        split: {clip["source"] for clip in copied(built, f"*/{split}/*/*.mp4")}
        for split in ("train", "val", "test")
    }
    assert not by_split["train"] & by_split["val"]
    assert not by_split["test"] & (by_split["train"] | by_split["val"])


def test_own_clips_have_a_table_a_class_to_add_and_unseen_clips(built):
    pages.example_clips("own")
    assert len(copied(built, "zoo/*/*.mp4")) == 50
    assert {clip["labels"] for clip in copied(built, "more/rooster/*.mp4")} == {"rooster"}
    with Path("clips.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 50
    for row in rows:
        assert built[Path("zoo", row["path"]).read_text()]["labels"] == row["labels"]
    unseen = copied(built, "unseen/*.mp4")
    assert len(unseen) == 12
    learned = copied(built, "zoo/*/*.mp4") + copied(built, "more/*/*.mp4")
    assert not {clip["source"] for clip in unseen} & {clip["source"] for clip in learned}


@pytest.mark.parametrize("page", ["tutorial", "own"])
def test_test_clips_of_the_benchmark_are_not_used(built, page):
    pages.example_clips(page)
    clips = copied(built, "**/*.mp4")
    assert clips
    assert {clip["split"] for clip in clips} == {"train", "val"}


def test_a_folder_without_the_set_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CIGN_REAL", str(tmp_path))
    with pytest.raises(SystemExit, match="make real-sets"):
        pages.example_clips("own")
