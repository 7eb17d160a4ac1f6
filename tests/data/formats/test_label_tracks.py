"""Label tracks of Audacity, selection tables of Raven, and what all label files share."""

import codecs
import shutil
from pathlib import Path

import pytest

from cign.cli.entry_point import main
from cign.data.formats.detect import detect_format
from lists import by_id, read, said
from refusals import input_error

from .label_media import recordings, segments

WRITTEN = Path(__file__).parent / "written"  # by pympi-ling 1.71 and crowsetta 5.1.2
TRACK = "0.500000\t2.250000\tdog\n\\\t120.000000\t4000.000000\n3.000000\t4.000000\tcat\n"


def audacity(folder, text=TRACK, name="rec.txt"):
    recordings(folder, "rec.wav")
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


# --- Audacity ---


def test_a_track_gives_segments_of_the_recording_of_its_name(tmp_path):
    table = read(audacity(tmp_path))
    clips = by_id(table)
    assert list(clips) == ["rec.wav@0.5-2.25", "rec.wav@3-4"]
    clip = clips["rec.wav@0.5-2.25"]
    assert (clip.path, clip.source, clip.labels) == (tmp_path / "rec.wav", "rec.wav", ("dog",))
    assert table.class_names == ("cat", "dog")


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: codecs.BOM_UTF8 + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode("utf-16-be"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode("utf-16"),
        lambda text: text.replace(".", ",").encode(),
    ],
)
def test_encodings_line_ends_and_decimal_commas(tmp_path, encode):
    expected = {("rec.wav", 0.5, 2.25): ("dog",), ("rec.wav", 3.0, 4.0): ("cat",)}
    assert segments(audacity(tmp_path, encode(TRACK))) == expected


def test_points_empty_labels_and_repeated_lines_are_counted(tmp_path):
    text = "1\t1\tdog\n1\t2\t\n1\t2\n5\tdog\n1\t2\tdog\n1\t2\tdog\n1\t2\tcat\n\n"
    table = read(audacity(tmp_path, text), "audacity")
    assert {clip.id: clip.labels for clip in table.clips} == {"rec.wav@1-2": ("dog", "cat")}
    assert [(one.path, one.reason) for one in table.ignored] == [
        ("rec.txt line 1", "of zero length"),
        ("rec.txt line 2", "without a label"),
        ("rec.txt line 3", "without a label"),
        ("rec.txt line 4", "of zero length"),
    ]
    assert said(table, "2 entries were ignored, of zero length: rec.txt line 1, rec.txt line 4")
    assert said(table, "1 entry repeats a segment and its label")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("2\t1\tdog", "after"),
        ("-1\t1\tdog", "-1.0"),
        ("nan\t1\tdog", "nan"),
        ("1\tinf\tdog", "inf"),
        ("one\ttwo\tdog", "tabs"),
        ("1 2 dog", "tabs"),
        ("1_0\t20\tdog", "tabs"),
        ("1\t2\ta|b", "'a|b'"),
        ("1\t2\tNaN", "missing"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, told):
    with input_error("bad-list", "rec.txt line 4", told):
        read(audacity(tmp_path, TRACK + line), "audacity")


def test_text_of_another_encoding_is_refused(tmp_path):
    with input_error("file-unreadable", "rec.txt", "UTF-8"):
        read(audacity(tmp_path, "1\t2\tchouette chevêche\n".encode("latin-1")), "audacity")


def test_tracks_beside_recordings_in_folders_of_the_same_names(tmp_path):
    recordings(tmp_path, "a/rec.wav", "b/rec.mp4", "b/rec.wav", "b/other.flac")
    for name in ("a", "b"):
        (tmp_path / name / "rec.txt").write_text(f"1\t2\t{name}\n")
    (tmp_path / "b" / "other.flac.txt").write_text("1\t2\tc\n")
    (tmp_path / "README.txt").write_text("Made with care.\n")
    table = read(tmp_path, "audacity")
    assert {clip.id: clip.labels for clip in table.clips} == {
        "a/rec.wav@1-2": ("a",),
        "b/rec.mp4@1-2": ("b",),  # video before audio of the same name
        "b/other.flac@1-2": ("c",),
    }
    assert said(table, "1 file is not a label track and was ignored: README.txt")


def test_tracks_apart_from_recordings(tmp_path):
    media = recordings(tmp_path / "media", "a/rec.wav", "b/rec.wav", "b/only.wav")
    labels = tmp_path / "labels"
    (labels / "b").mkdir(parents=True)
    (labels / "b" / "rec.txt").write_text("1\t2\tdog\n")
    (labels / "only.txt").write_text("1\t2\tdog\n")
    (labels / "lost.txt").write_text("1\t2\tdog\n")
    table = read(labels, media=[media])
    assert set(by_id(table)) == {"b/rec.wav@1-2", "b/only.wav@1-2", "lost.wav@1-2"}
    assert said(table, f"1 recording was not found in {media}")
    (labels / "rec.txt").write_text("1\t2\tdog\n")
    with input_error("bad-list", "rec.txt", "--media"):
        read(labels, media=[media])


def test_written_by_another_package(tmp_path):
    recordings(tmp_path, "c.wav")
    shutil.copy(WRITTEN / "audacity.txt", tmp_path / "c.txt")
    found = segments(tmp_path)
    assert found == {("c.wav", 1.0, 2.0): ("dog",), ("c.wav", 3.0, 4.5): ("cat & mouse",)}


def test_what_is_no_track_is_not_taken_for_one(tmp_path):
    folder = recordings(tmp_path, "dog/a.wav", "cat/b.wav")
    (folder / "notes.txt").write_text("1\t2\tthree\n")
    assert detect_format(folder) == "folders"
    (folder / "dog.eaf").write_text("")
    assert detect_format(folder) == "folders"


# --- Raven ---

HEADER = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"


def raven(folder, rows, more="Begin File\tAnnotation", name="rec.Table.1.selections.txt"):
    recordings(folder, "rec.wav")
    lines = [f"{HEADER}\t{more}", *("\t".join(map(str, row)) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def test_views_and_channels_are_one_segment(tmp_path):
    rows = [
        (1, view, channel, 1.25, 2.5, 100, 4000, "rec.wav", "owl")
        for view in ("Waveform 1", "Spectrogram 1")
        for channel in (1, 2)
    ]
    table = read(raven(tmp_path, rows))
    assert {clip.id: clip.labels for clip in table.clips} == {"rec.wav@1.25-2.5": ("owl",)}
    assert said(table, "3 entries repeat a segment and its label")


def test_the_recording_of_a_table_without_its_name(tmp_path):
    rows = [(1, "Spectrogram 1", 1, "1,5", "2,5", 0, 10, "owl"), (2, "Spectrogram 1", 1, 3, 4)]
    table = read(raven(tmp_path, rows, "Annotation"))
    assert {clip.id: clip.labels for clip in table.clips} == {"rec.wav@1.5-2.5": ("owl",)}
    assert table.ignored[0].path == "rec.Table.1.selections.txt line 3"  # no annotation yet


def test_times_in_a_sequence_of_files(tmp_path):
    recordings(tmp_path, "one.wav", "two.wav", "rec.wav")
    more = "Begin File\tEnd File\tFile Offset (s)\tSpecies"
    rows = [
        (1, "Spectrogram 1", 1, 10.0, 12.5, 0, 1, "one.wav", "one.wav", 10.0, "owl"),
        (2, "Spectrogram 1", 1, 310.0, 312.5, 0, 1, "two.wav", "two.wav", 10.0, "jay"),
        (3, "Spectrogram 1", 1, 299.0, 301.0, 0, 1, "one.wav", "two.wav", 299.0, "owl"),
    ]
    table = read(raven(tmp_path, rows, more))
    assert {clip.id: clip.labels for clip in table.clips} == {
        "one.wav@10-12.5": ("owl",),
        "two.wav@10-12.5": ("jay",),
    }
    assert table.ignored[0].reason == "across two files"


def test_paths_of_another_machine(tmp_path):
    recordings(tmp_path, "site/rec.wav", "other/rec.wav")
    path = r"D:\field\site\rec.wav"
    rows = [(1, "Spectrogram 1", 1, 1, 2, 0, 1, path, "owl")]
    folder = raven(tmp_path, rows, "Begin Path\tCommon Name")
    (folder / "rec.wav").unlink()
    assert set(segments(folder, "raven")) == {("site/rec.wav", 1.0, 2.0)}


def test_the_column_of_the_class_is_named_if_it_is_unclear(tmp_path):
    rows = [(1, "Spectrogram 1", 1, 1, 2, 0, 1, "owl", "call")]
    folder = raven(tmp_path, rows, "Species\tLabel")
    with input_error("missing-option", "label and species", "'raven/label'"):
        read(folder)
    assert segments(folder, "raven/Label") == {("rec.wav", 1.0, 2.0): ("call",)}
    with input_error("bad-list", "'kind'", "species"):
        read(folder, "raven/kind")
    with input_error("bad-value", "'audacity/kind'"):
        read(folder, "audacity/kind")


def test_a_table_of_another_package(tmp_path):
    recordings(tmp_path, "c.wav")
    shutil.copy(WRITTEN / "raven.selections.txt", tmp_path / "c.Table.1.selections.txt")
    found = segments(tmp_path)
    assert found == {("c.wav", 1.0, 2.0): ("bird & <x>",), ("c.wav", 3.0, 4.5): ("dog",)}


# --- splits, and times beyond the end ---


def test_all_segments_of_a_recording_are_in_one_split(tmp_path):
    for number in range(20):
        recordings(tmp_path, f"{number}.wav")
        lines = [f"{n}\t{n + 1}\t{'owl' if n % 2 else 'jay'}\n" for n in range(6)]
        (tmp_path / f"{number}.txt").write_text("".join(lines))
    table = read(tmp_path)
    splits = {clip.source: set() for clip in table.clips}
    for clip in table.clips:
        splits[clip.source].add(clip.split)
    assert all(len(found) == 1 for found in splits.values())
    counts = [
        sum(split == {name} for split in splits.values()) for name in ("train", "val", "test")
    ]
    assert counts == [16, 2, 2]


def test_few_recordings_of_many_classes_leave_each_class_a_training_clip(tmp_path):
    classes = {"a": "pqr", "b": "pqr", "c": "prs", "d": "st"}
    for name, labels in classes.items():
        recordings(tmp_path, f"{name}.wav")
        text = "".join(f"{n}\t{n + 1}\t{label}\n" for n, label in enumerate(labels * 4))
        (tmp_path / f"{name}.txt").write_text(text)
    table = read(tmp_path)
    assert set(table.counts()["train"]) == set("pqrst")


def test_segments_beyond_the_end_are_listed_when_prepared(tmp_path, media, capsys):
    shutil.copy(media("long.mp4"), tmp_path / "rec.mp4")  # twelve seconds
    rows = [(1, 3, "a"), (4, 7, "b"), (11, 14, "a"), (13, 15, "b")]
    text = "".join(f"{start}\t{end}\t{label}\n" for start, end, label in rows)
    (tmp_path / "rec.txt").write_text(text)
    store = tmp_path / "store"
    how = ["--workers", "0", "--backbone", "small-random"]
    assert main(["prepare", str(tmp_path), str(store), *how]) == 0
    problems = (store / "problems.csv").read_text().splitlines()
    (lost,) = [line for line in problems if line.endswith("false")]
    assert "rec.mp4@13-15" in lost
    assert "past the end" in lost
    assert any("rec.mp4@11-14" in line and "1.00 s" in line for line in problems)
