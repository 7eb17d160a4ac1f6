"""What is written for an annotation tool comes back; other packages take it, too."""

import json
import unicodedata
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cign.data.clips import Clip
from cign.data.formats.label_tools.predicted import Window, join_windows
from cign.data.formats.label_tools.tracks import WRITERS, Span, Track, tracks_of
from cign.data.formats.labels import is_missing
from cign.errors import InputError
from lists import read

from .label_media import recordings, segments, video

RATE = 25  # frames per second of the videos
NAMES = ("a.mp4", "b c/a.mp4", "b c/é%20&.mp4")
SOME = settings(max_examples=40, deadline=None)
labels = (
    st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=8)
    .map(lambda name: unicodedata.normalize("NFC", name))
    .filter(lambda name: not is_missing(name) and "|" not in name and not name.isdecimal())
)


def lists_of(end, unit):
    """Segments of recordings with times in whole numbers of a unit."""
    time = st.integers(0, end).map(lambda number: float(number * unit))
    times = st.tuples(time, time).filter(lambda both: both[0] != both[1]).map(sorted).map(tuple)
    key = st.tuples(st.sampled_from(NAMES), times)
    several = st.lists(labels, min_size=1, max_size=3, unique=True)
    return st.dictionaries(key, several, min_size=1, max_size=12)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    for name in NAMES:
        video(folder / name, str(RATE))
    return folder


def clips(folder, found):
    return [
        Clip(
            id=f"{name}@{start_s}-{end_s}",
            path=folder / name,
            labels=tuple(names),
            split="train",
            start_s=start_s,
            end_s=end_s,
            source=name,
        )
        for (name, (start_s, end_s)), names in found.items()
    ]


def written(tool, folder, found, place):
    for name, text in WRITERS[tool](tracks_of(clips(folder, found))):
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


def comes_back(tool, folder, found, tmp_path_factory):
    place = written(tool, folder, found, tmp_path_factory.mktemp(tool))
    back = segments(place, tool, media=[folder])
    assert {key: set(names) for key, names in back.items()} == {
        (name, *times): set(names) for (name, times), names in found.items()
    }


exact = lists_of(10**7, 1e-6) | st.dictionaries(
    st.tuples(
        st.sampled_from(NAMES),
        st.tuples(st.floats(0, 1e3), st.floats(1e3 + 1, 1e6)),
    ),
    st.lists(labels, min_size=1, max_size=2, unique=True),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("tool", ["audacity", "raven", "via"])
@SOME
@given(found=exact)
def test_seconds_come_back(tool, media, tmp_path_factory, found):
    comes_back(tool, media, found, tmp_path_factory)


@SOME
@given(found=lists_of(10**6, Fraction(1, 1000)))
def test_milliseconds_of_elan_come_back(media, tmp_path_factory, found):
    comes_back("elan", media, found, tmp_path_factory)


@pytest.mark.parametrize("tool", ["cvat", "label-studio"])
@SOME
@given(found=lists_of(1000, Fraction(1, RATE)))
def test_frames_come_back(tool, media, tmp_path_factory, found):
    comes_back(tool, media, found, tmp_path_factory)


def test_whole_files_of_label_studio_come_back(tmp_path):
    folder = recordings(tmp_path / "media", "a.wav", "b.mp4")
    (tmp_path / "clips.csv").write_text("path,labels,split\na.wav,x|y,train\nb.mp4,z,train\n")
    table = read(tmp_path / "clips.csv", media=[folder])
    for name, text in WRITERS["label-studio"](tracks_of(table.clips)):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text(text)
    back = segments(tmp_path / "out", "label-studio", media=[folder])
    assert back == {("a.wav", None, None): ("x", "y"), ("b.mp4", None, None): ("z",)}


@pytest.mark.parametrize("tool", ["audacity", "raven", "via", "elan", "cvat"])
def test_a_whole_file_ends_where_the_recording_ends(tool, tmp_path):
    folder = tmp_path / "media"
    video(folder / "a.mp4", seconds=2.0)
    (tmp_path / "clips.csv").write_text("path,labels,split\na.mp4,x,train\n")
    tracks = tracks_of(read(tmp_path / "clips.csv", media=[folder]).clips)
    for name, text in WRITERS[tool](tracks):
        (tmp_path / name).write_text(text)
        (tmp_path / "clips.csv").unlink()
        assert segments(tmp_path / name, tool, media=[folder]) == {("a.mp4", 0.0, 2.0): ("x",)}


# --- damaged files ---


def answer(place, tool, media):
    """The ids of the clips, or the sentence of the error."""
    try:
        return str([clip.id for clip in read(place, tool, media=[media]).clips])
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("tool", sorted(WRITERS))
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damaged_label_files_are_answered(tool, media, tmp_path_factory, data):
    place = tmp_path_factory.mktemp("damaged")
    found = {("a.mp4", (0.0, 0.4)): ["x"], ("a.mp4", (0.4, 1.2)): ["ý", "z"]}
    for path in sorted(p for p in written(tool, media, found, place).rglob("*") if p.is_file()):
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(0, max(len(content) - 1, 0)))
            kind = data.draw(st.sampled_from(["cut", "set", "repeat", "drop", "number"]))
            if kind == "cut":
                del content[at:]
            elif kind == "set":
                content[at : at + 1] = data.draw(st.binary(max_size=3))
            elif kind == "repeat":
                content[at:at] = content[at : at + 40]
            elif kind == "drop":
                del content[at : at + data.draw(st.integers(1, 30))]
            else:
                odd = [
                    b"-1",
                    b"1e999",
                    b"nan",
                    b"null",
                    b"[]",
                    b"{}",
                    b'""',
                    b"\t",
                    b"\n",
                    b"9" * 30,
                ]
                content[at : at + 1] = data.draw(st.sampled_from(odd))
        path.write_bytes(bytes(content))
    assert "\n" not in answer(place, tool, media)


@pytest.mark.parametrize("tool", sorted(WRITERS))
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 100, b"\xff\xfe\x00\xd8", b"[" * 100000, b"<a>" * 9]
)
def test_odd_contents_are_one_sentence(tool, content, tmp_path):
    ending = {"elan": "eaf", "cvat": "xml", "via": "csv", "label-studio": "json"}.get(tool, "txt")
    path = tmp_path / f"a.{ending}"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read(path, tool)


# --- other packages ---


def made(tool, media, tmp_path):
    found = {
        ("a.mp4", (0.0, 0.5)): ["x"],
        ("a.mp4", (0.5, 1.25)): ["y & z"],
        ("a.mp4", (1.0, 1.5)): ["x"],
    }
    (path,) = [path for path in written(tool, media, found, tmp_path).iterdir() if path.is_file()]
    return path, sorted((*times, *names) for (_, times), names in found.items())


def test_pympi_reads_what_is_written_for_elan(media, tmp_path):
    elan = pytest.importorskip("pympi.Elan")
    path, expected = made("elan", media, tmp_path)
    document = elan.Eaf(str(path))
    tiers = [document.get_annotation_data_for_tier(one) for one in document.get_tier_names()]
    found = [(start / 1000, end / 1000, label) for tier in tiers for start, end, label in tier]
    assert sorted(found) == expected
    assert document.get_linked_files()[0]["MEDIA_URL"] == (media / "a.mp4").as_uri()
    for tier in tiers:  # annotations of a tier must not overlap
        ordered = sorted(tier)
        assert all(a[1] <= b[0] for a, b in pairwise(ordered))


def test_crowsetta_reads_what_is_written_for_audacity(media, tmp_path):
    crowsetta = pytest.importorskip("crowsetta")
    path, expected = made("audacity", media, tmp_path)
    found = crowsetta.formats.seq.AudSeq.from_file(path).to_seq().segments
    assert sorted((one.onset_s, one.offset_s, one.label) for one in found) == expected


def test_crowsetta_reads_what_is_written_for_raven(media, tmp_path):
    crowsetta = pytest.importorskip("crowsetta")
    path, expected = made("raven", media, tmp_path)
    found = crowsetta.formats.bbox.Raven.from_file(path).to_bbox()
    assert sorted((one.onset, one.offset, one.label) for one in found) == expected


@pytest.mark.parametrize("is_predicted", [False, True])
def test_label_studio_accepts_what_is_written_for_it(is_predicted, media):
    module = pytest.importorskip("label_studio_sdk.label_interface")
    found = {("a.mp4", (0.0, 0.4)): ["x"], ("a.mp4", (0.4, 1.2)): ["y & <z>"]}
    tracks = [replace(one, is_predicted=is_predicted) for one in tracks_of(clips(media, found))]
    whole = Track(
        name="b.wav",
        path=media / "b.wav",
        spans=(Span(start_s=None, end_s=None, labels=("x", "y"), score=0.5),),
        is_predicted=is_predicted,
    )
    files = dict(WRITERS["label-studio"]([*tracks, whole]))
    for kind in ("audio", "video"):
        interface = module.LabelInterface(files[f"{kind}-interface.xml"])
        (task,) = json.loads(files[f"{kind}.json"])
        if is_predicted:
            assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []
        else:
            assert interface.validate_annotation(task["annotations"][0])
        assert list(task["data"]) == [kind]


# --- windows of predictions ---

steps = st.lists(
    st.tuples(st.integers(1, 4), st.sampled_from("ab"), st.floats(0, 1)), min_size=1, max_size=12
)


@SOME
@given(steps=steps, length=st.integers(1, 6))
def test_each_instant_has_the_label_of_the_window_with_the_nearest_centre(steps, length):
    windows, start = [], 0
    for step, label, score in steps:
        windows.append(Window(float(start), float(start + length), label, score))
        start += step
    joined = join_windows(windows)
    for one, following in pairwise(joined):
        assert one.end_s < following.start_s or one.label != following.label
    for number in range(8 * (start + length)):
        time = number / 8 + 1 / 16  # no boundary is there
        inside = [w for w in windows if w.start_s <= time <= w.end_s]
        found = [one.label for one in joined if one.start_s <= time <= one.end_s]
        nearest = min(inside, key=lambda w: abs(time - (w.start_s + w.end_s) / 2), default=None)
        assert found == ([] if nearest is None else [nearest.label])


def test_predictions_for_label_studio_have_scores_and_a_version(media):
    spans = (
        Span(start_s=0.0, end_s=1.0, labels=("x",), score=0.75),
        Span(start_s=1.0, end_s=2.0, labels=("y",), score=0.25),
    )
    track = Track(name="a.mp4", path=media / "a.mp4", spans=spans, is_predicted=True)
    files = dict(WRITERS["label-studio"]([track]))
    (task,) = json.loads(files["video.json"])
    assert "annotations" not in task
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("cign", 0.5)
    assert [one["score"] for one in prediction["result"]] == [0.75, 0.25]
    assert prediction["result"][1]["value"] == {
        "ranges": [{"start": 26, "end": 50}],
        "timelinelabels": ["y"],
    }
    interface = files["video-interface.xml"]
    for one in prediction["result"]:
        assert f'name="{one["from_name"]}" toName="{one["to_name"]}"' in interface
