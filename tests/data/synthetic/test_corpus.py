"""What is written: MP4 files with both tracks, the table, and what happens on a second call."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import numpy as np
import pytest

from cign.errors import InputError
from cign.synthetic import SynthConfig, SyntheticDataset, clip_path, plan, render_clip, synthesize
from cign.synthetic.clip import facts_of
from cign.synthetic.corpus import COLUMNS, _table
from cign.utils.files import read_json
from refusals import input_error

CONFIG = SynthConfig(num_classes=2, num_train=2, num_val=1, num_test=1, size_px=64, duration_s=1.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "clips"
    synthesize(out, CONFIG)
    return out


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / "clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_lists_every_file(corpus: Path) -> None:
    rows = _rows(corpus)
    assert tuple(rows[0]) == COLUMNS
    assert {row["path"] for row in rows} == {
        str(path.relative_to(corpus)) for path in corpus.rglob("*.mp4")
    }
    assert len(rows) == 8
    for row in rows:
        split, name, _ = row["path"].split("/")
        assert (split, name) == (row["split"], row["labels"])
        assert (row["visual_present"] == "true") == bool(row["box"])
        assert (row["audio_present"] == "true") == bool(row["sound_start_s"])
        if row["box"]:
            x0, y0, x1, y1 = (float(edge) for edge in row["box"].split(","))
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
        if row["sound_start_s"]:
            assert 0 <= float(row["sound_start_s"]) < float(row["sound_end_s"]) <= 1.0
    assert {row["audio_present"] for row in rows} == {"true", "false"}
    assert any(row["box"] for row in rows)


def test_the_record_says_what_was_made(corpus: Path) -> None:
    record = read_json(corpus / "synth.json", "record")
    assert record["config"]["num_classes"] == 2
    assert record["limit"] == pytest.approx(0.98)
    assert sum(record["shares"].values()) == pytest.approx(0.34)


def test_files_hold_both_tracks_and_the_rendered_clip(corpus: Path) -> None:
    world, clip = SyntheticDataset(CONFIG.world), plan(CONFIG)[0]
    rendered = render_clip(world, clip)
    path = corpus / clip_path(clip, world.names(2))
    with av.open(path) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(path) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        pieces = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    assert len(frames) == 12
    assert np.abs(np.stack(frames).astype(int) - rendered.frames).mean() < 12
    sound = np.concatenate(pieces)[: len(rendered.audio)]
    assert np.corrcoef(sound, rendered.audio)[0, 1] > 0.9  # and so not shifted either


def test_an_interrupted_corpus_is_continued(corpus: Path) -> None:
    table = (corpus / "clips.csv").read_text()
    lost, kept = sorted(corpus.rglob("*.mp4"))[:2]
    before, stamp = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    (corpus / "clips.csv").unlink()
    synthesize(corpus, CONFIG, num_workers=2)
    assert lost.read_bytes() == before
    assert kept.stat().st_mtime_ns == stamp
    assert (corpus / "clips.csv").read_text() == table


def test_other_folders_are_left_alone(corpus: Path, tmp_path: Path) -> None:
    other = SynthConfig(num_classes=3, num_train=2, num_val=1, num_test=1)
    with pytest.raises(InputError, match="another configuration"):
        synthesize(corpus, other)
    (tmp_path / "mine.txt").write_text("mine")
    with input_error("bad-output", "synth.json"):
        synthesize(tmp_path, CONFIG)
    with input_error("bad-output", "mine.txt"):
        synthesize(tmp_path / "mine.txt", CONFIG)
    assert [p.name for p in tmp_path.iterdir() if p.name != ".lock"] == ["mine.txt"]


def test_two_labels_are_joined(tmp_path: Path) -> None:
    config = SynthConfig(
        num_classes=2, num_train=11, num_val=1, num_test=1, variant="duet", duration_s=1.0
    )
    # The rows alone: no need to render 26 clips.
    world, clips = SyntheticDataset(1), [clip for clip in plan(config) if clip.split == "test"]
    names = world.names(2)
    paths = [clip_path(clip, names) for clip in clips]
    facts = {path: facts_of(world, clip) for path, clip in zip(paths, clips, strict=True)}
    for row in csv.DictReader(_table(clips, paths, facts, names).splitlines()):
        assert sorted(row["labels"].split("|")) == sorted(names)
        assert [len(box.split(",")) for box in row["box"].split("|")] == [4, 4]
        starts = [float(start) for start in row["sound_start_s"].split("|")]
        ends = [float(end) for end in row["sound_end_s"].split("|")]
        assert all(e - s <= 0.5 + 1e-3 for s, e in zip(starts, ends, strict=True))
