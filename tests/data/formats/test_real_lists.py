"""The published lists themselves, where ``CIGN_TEST_LISTS`` says they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cign.data.formats import read_source
from cign.data.prepare.findings import shared_sources

WHERE = os.environ.get("CIGN_TEST_LISTS", "")
pytestmark = pytest.mark.skipif(
    not WHERE, reason="CIGN_TEST_LISTS does not name a folder with the published lists"
)


def read(name: str, format: str, **options):
    return read_source(
        Path(WHERE) / name, format=format, min_classes=1, require_train=False, **options
    )


def totals(table) -> dict[str, int]:
    return {split: sum(counts.values()) for split, counts in table.counts().items()}


def test_instruments_as_published():
    table = read("vggsound_instruments", "vggsound-instruments")
    assert len(table.class_names) == 36
    assert totals(table) == {"train": 26768, "val": 3333, "test": 3337}
    assert any(note.startswith("89 test lines have another label") for note in table.notes)
    assert any(note.startswith("36 rows have '-'") for note in table.notes)
    pairs = {(pair["split"], pair["other"]): pair["num_clips"] for pair in shared_sources(table)}
    assert pairs["test", "train"] == 953


def test_instruments_corrected():
    table = read("vggsound_instruments", "vggsound-instruments", split="corrected")
    historical = read("vggsound_instruments", "vggsound-instruments")
    assert table.class_names == historical.class_names
    assert sum(totals(table).values()) == 33438
    assert shared_sources(table) == []
    label_of = dict(
        line.split(",")
        for line in (Path(WHERE) / "vggsound_instruments" / "vgginstruments_train.txt")
        .read_text()
        .split()
    )
    assert all(clip.labels == (label_of[clip.id],) for clip in table.clips)
    counts = table.counts()
    for name in table.class_names:
        total = sum(counts[split][name] for split in counts)
        for split, share in (("train", 0.8), ("val", 0.1), ("test", 0.1)):
            assert abs(counts[split][name] / total - share) < 0.01
        assert total >= 400
        assert counts["test"][name] >= 40


def test_vggsound_test_list():
    table = read("vggsound", "vggsound")
    assert len(table.clips) == 15446
    assert len(table.class_names) == 309
    assert "bird chirping, tweeting" in table.class_names


def test_vgg_sound_sources():
    table = read("vgg_sound_sources", "vgg-sound-sources")
    assert len(table.clips) == 5158
    assert len(table.class_names) == 221
    # Two clips have boxes that enclose nothing, and no other.
    assert sum(bool(clip.boxes) for clip in table.clips) == 5156
