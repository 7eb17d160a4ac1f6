from __future__ import annotations

import shutil

import pytest

from cign.data.prepare.inspection import inspect_source
from cign.errors import InputError


def test_a_list_alone_is_enough(tmp_path):
    rows = ["path,labels,split,source", "a.mp4,x,train,film", "b.mp4,y,train,", "c.mp4,x,test,film"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    found = inspect_source(tmp_path / "list.csv")
    assert found.num_clips == found.num_missing == 3
    assert found.missing == ("a.mp4", "b.mp4", "c.mp4")
    assert found.counts == {"train": {"x": 1, "y": 1}, "test": {"x": 1}}
    assert found.shared_sources == [
        {"split": "test", "other": "train", "num_sources": 1, "num_clips": 1}
    ]
    assert len(found.list_hash) == 64
    assert found.findings is None


def test_decoding_finds_what_is_broken(media, tmp_path):
    names = ["plain.mp4", "silent.mp4", "still.mp4", "text.mp4", "plain.mp4"]
    for number, name in enumerate(names):
        path = tmp_path / ("test" if number == 4 else "train") / "ab"[number % 2] / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(media(name), path)
    found = inspect_source(tmp_path, decode_files=True, num_workers=2)
    assert found.num_missing == 0
    assert found.findings is not None
    assert found.findings.conditions["unreadable"] == 1
    assert found.findings.conditions["silent"] == 1
    assert found.findings.conditions["still"] == 1
    assert found.findings.num_duplicates_across == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["test", "train"]


def test_a_source_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no media files"):
        inspect_source(tmp_path)
