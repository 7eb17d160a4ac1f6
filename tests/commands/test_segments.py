"""`cign predict --segments`: the forms of its output, label files, and what is refused."""

import csv
import io
import json
import subprocess

import av
import imageio_ffmpeg
import pytest

from cign.cli.commands.predict_segments import clock
from cign.data.formats.label_tools.subtitles import write_srt
from cign.data.formats.label_tools.tracks import Span, Track
from cign.inference.segment import COLUMNS
from cign.learner import Learner

from .adding import refused

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()


@pytest.fixture(scope="module")
def learned(old_store, tmp_path_factory):
    """A model of three classes; its windows are 3 s long."""
    folder = tmp_path_factory.mktemp("learned")
    options = {"width": 60, "ridge": [5.0]}
    Learner("cign_analytic", options=options).learn(old_store).save(folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def films(tiny, rows, tmp_path_factory):
    """Two films of 12 s: four clips of one second of each class, one class after the other."""
    folder = tmp_path_factory.mktemp("films")
    found, classes = rows
    for name, order in (("first.mp4", classes[:3]), ("second.mp4", classes[2::-1])):
        paths = [
            path
            for label in order
            for path in [row["path"] for row in found if row["labels"] == label][:4]
        ]
        (folder / "list.txt").write_text("".join(f"file '{tiny[0] / path}'\n" for path in paths))
        command = [FFMPEG, "-v", "error", "-f", "concat", "-safe", "0"]
        command += ["-i", str(folder / "list.txt"), "-c", "copy", str(folder / name)]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="module")
def found(learned, films):
    """The segments of the first film in Python."""
    learner = Learner.load(learned)
    return list(learner.segments(films / "first.mp4", every_s=1.0))


def segments(cign, learned, *arguments):
    return cign("predict", learned, *arguments, "--segments", "--every", 1)


def test_all_forms_have_the_same_segments(cign, learned, films, found):
    film = films / "first.mp4"
    assert found
    expected = [one.to_dict() for one in found]
    code, out, err = segments(cign, learned, film, "--json")
    assert code == 0, err
    assert json.loads(out) == expected
    code, out, _ = segments(cign, learned, film, "--jsonl")
    assert [json.loads(line) for line in out.splitlines()] == expected
    code, out, _ = segments(cign, learned, film, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert tuple(rows[0]) == COLUMNS
    for row, one in zip(rows, expected, strict=True):
        assert (row["label"], float(row["start_s"])) == (one["label"], one["start_s"])
        assert float(row["visual_probability"]) == one["modalities"]["visual"]
    code, out, _ = segments(cign, learned, film)
    lines = out.splitlines()[2:]
    assert [line.split()[:3] for line in lines] == [
        [clock(one.start_s), clock(one.end_s), one.label] for one in found
    ]


def test_segments_lie_within_the_film_and_follow_each_other(found):
    ends = [0.0, *(one.end_s for one in found)]
    for one, before_s in zip(found, ends, strict=False):
        assert before_s <= one.start_s < one.end_s <= 12.6
        assert one.end_s - one.start_s >= 2.249  # 3/4 of a window of 3 s
        assert 0 < one.probability <= 1


def test_rules_change_the_segments(cign, learned, films):
    film = films / "first.mp4"

    def number(*options):
        return len(json.loads(segments(cign, learned, film, "--json", *options)[1]))

    assert number("--least", 100) <= 1  # one that is as long as the film is left
    assert number("--enter", 1, "--unknown-threshold", 0) == 0
    lenient = number("--enter", 0.01, "--leave", 0.01, "--least", 0, "--unknown-threshold", 0)
    assert lenient >= 1


def test_subtitles_are_read_by_ffmpeg(cign, learned, films, found, tmp_path):
    place = tmp_path / "film.srt"
    code, out, err = segments(
        cign, learned, films / "first.mp4", "--to", "srt", "--out", place, "--unknown", "not known"
    )
    assert code == 0, err
    assert out.strip() == str(place)
    with av.open(place) as media:
        stream = media.streams.subtitles[0]
        cues = [
            (
                float(p.pts * p.time_base),
                float((p.pts + p.duration) * p.time_base),
                bytes(p).decode(),
            )
            for p in media.demux(stream)
            if p.pts is not None
        ]
    expected = [
        (one.start_s, one.end_s, "not known" if one.is_unknown else one.label) for one in found
    ]
    for cue, one in zip(cues, expected, strict=True):
        assert cue[:2] == pytest.approx(one[:2], abs=2e-3)
        assert cue[2].strip() == one[2]


def test_overlapping_labels_share_a_subtitle(tmp_path):
    spans = [(0.0, 4.0, "a"), (2.0, 5.0, "b"), (3661.5, 3662.0, "a")]
    spans = [Span(start_s=s, end_s=e, labels=(label,)) for s, e, label in spans]
    ((name, text),) = write_srt([Track(name="x/y.mp4", path=tmp_path, spans=tuple(spans))])
    assert name == "x/y.srt"
    assert text.split("\n\n") == [
        "1\n00:00:00,000 --> 00:00:02,000\na",
        "2\n00:00:02,000 --> 00:00:04,000\na\nb",
        "3\n00:00:04,000 --> 00:00:05,000\nb",
        "4\n01:01:01,500 --> 01:01:02,000\na\n",
    ]


def test_several_files_have_a_label_file_each(cign, learned, films, tmp_path):
    both = (films / "first.mp4", films / "second.mp4")
    code, _, err = segments(cign, learned, *both, "--to", "audacity", "--out", tmp_path / "labels")
    assert code == 0, err
    names = sorted(path.name for path in (tmp_path / "labels").iterdir())
    assert names == ["first.txt", "second.txt"]
    refused(segments(cign, learned, *both, "--to", "audacity"), "2 label files", "--out")
    code, out, _ = segments(cign, learned, both[0], "--to", "audacity")
    assert out == (tmp_path / "labels" / "first.txt").read_text()
    code, out, _ = segments(cign, learned, both[0], "--to", "elan")
    assert "<ANNOTATION_DOCUMENT" in out


def test_the_table_of_segments_can_be_written_as_labels(cign, learned, films, found, tmp_path):
    for form in ("--csv", "--json", "--jsonl"):
        source = tmp_path / f"segments{form}"
        source.write_text(segments(cign, learned, films / "first.mp4", form)[1])
        place = tmp_path / f"labels{form}"
        labels = ("--to", "audacity", "--unknown", "unknown")
        code, _, err = cign("labels", source, place, *labels)
        assert code == 0, err
        lines = [line.split("\t") for line in (place / "first.txt").read_text().splitlines()]
        assert [(float(a), float(b), c) for a, b, c in lines] == [
            (one.start_s, one.end_s, "unknown" if one.is_unknown else one.label) for one in found
        ]


def test_files_that_cannot_be_read_are_named(cign, learned, films, tmp_path):
    (tmp_path / "text.mp4").write_text("no film")
    broken = tmp_path / "text.mp4"
    code, out, _ = segments(cign, learned, broken, films / "first.mp4", "--json")
    first, *others = json.loads(out)
    assert code == 0
    assert (first["file"], first["label"], first["error_code"]) == (
        str(broken),
        None,
        "file-unreadable",
    )
    assert others
    code, out, _ = segments(cign, learned, broken, films / "first.mp4")
    assert "error: unreadable" in out
    code, _, err = segments(cign, learned, broken)
    assert code == 2
    assert "could be read" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--enter", "0.5"], "--enter has no effect without --segments"),
        (["--to", "srt"], "--to has no effect without --segments"),
        (["--segments", "--out", "x"], "--out has no effect without --to"),
        (["--segments", "--to", "word"], "'word'"),
        (["--segments", "--to", "srt", "--json"], "--to and --json exclude each other"),
        (["--segments", "--top", "2"], "--top has no effect with --segments"),
        (["--segments", "--explain", "x"], "--explain draws windows"),
        (["--segments", "--every", "3.5"], "at most 3 s"),
        (["--segments", "--enter", "0.4", "--leave", "0.5"], "probability to leave"),
        (["--segments", "--enter", "0"], "probability to enter"),
        (["--segments", "--least", "-1"], "'-1'"),
        (["--segments", "--to", "srt", "--unknown", "a|b"], "'a|b'"),
    ],
)
def test_options_without_effect_are_refused(cign, learned, films, options, words):
    refused(cign("predict", learned, films / "first.mp4", *options), words)
