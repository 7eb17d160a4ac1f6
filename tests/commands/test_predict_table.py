"""The table of `cign predict` at 60, 80, 120 and 200 columns, in pipes and with --wide."""

import re

import pytest
from rich.cells import cell_len

from cign.cli.commands.predict_table import make_table
from cign.inference.prediction import Prediction

WIDTHS = [60, 80, 120, 200]
DEEP = "recordings/2024-05-17/site-with-a-very-long-name/camera-03"
CLASSES = ["siren", "a class with a rather long name, two words more", "dog"]


def classes(*pairs):
    return [{"label": label, "probability": p} for label, p in pairs]


def good(file, label="siren", probability=0.97, **changes):
    told = classes((label, probability), ("dog", 0.02), ("cat", 0.01))
    return Prediction(
        file=file,
        start_s=0.0,
        end_s=3.0,
        label=label,
        unknown=changes.pop("unknown", 0.31),
        unknown_threshold=0.8,
        is_unknown=changes.pop("is_unknown", False),
        modalities={"audio": told, "visual": told, "audio_visual": told},
        **changes,
    )


@pytest.fixture
def predictions():
    odd = good(
        f"{DEEP}/part-0003-of-0120.mp4",
        probability=1.0,
        unknown=0.95,
        is_unknown=True,
        unknown_evidence={"max_logit": 0.3, "margin": -1.0, "leverage": 9.6},
    )
    silent = good(f"{DEEP}/part-0004-of-0120.mp4", label=CLASSES[1], missing=["audio"])
    silent.modalities["audio"] = []
    return [
        good("clips/test/siren/0001.mp4"),
        good(f"{DEEP}/part-0001-of-0120.mp4"),
        good(f"{DEEP}/part-0002-of-0120.mp4", label="dog", probability=0.51),
        odd,
        silent,
        Prediction(file="clips/broken.mp4", error="unreadable: it does not open: no such format"),
    ]


def text_of(table):
    return "\n".join(table.lines())


@pytest.mark.parametrize("width", WIDTHS)
def test_file_label_probability_and_unknown_are_whole_at_any_width(predictions, width):
    table = make_table(predictions, width)
    lines = list(table.lines())
    assert max(map(cell_len, lines)) <= width
    assert [one.heading for one in table.columns[:4]] == ["file", "label", "probability", "unknown"]
    file, label, probability, unknown = table.columns[:4]
    for row, one in enumerate(predictions):
        # Cells may go over lines, and lose no letter but the middle of a file's name.
        said = " ".join(label.cut(row)).replace(" ", "")
        assert said == (one.label or "-").replace(" ", "")
        begin, _, end = "".join(file.cut(row)).partition("…")
        assert one.file.startswith(begin)
        assert one.file.endswith(end)
        assert end or begin == one.file
    assert probability.cells == ["0.97", "0.97", "0.51", "1.00", "0.97", "-"]
    assert unknown.cells == ["no", "no", "no", "yes", "no", "-"]
    assert len({tuple(file.cut(row)) for row in range(len(predictions))}) == len(predictions)


@pytest.mark.parametrize("width", WIDTHS)
def test_remarks_are_told_at_any_width(predictions, width):
    said = re.sub(r"\s+", " ", text_of(make_table(predictions, width)))
    assert "unknown although siren has 1.00: its features are far from those of all" in said
    assert "leverage 9.6 standard deviations above the mean of validation clips" in said
    assert "no audio" in said
    assert "error: unreadable: it does not open: no such format" in said


def test_words_of_a_label_are_not_broken(predictions):
    (label,) = [one for one in make_table(predictions, 60).columns if one.heading == "label"]
    assert label.cut(4) == ["a class with a", "rather long name,", "two words more"]


def test_other_columns_come_as_width_allows():
    one = good("clips/test/siren/0001.mp4")
    shown = {}
    for width in (*WIDTHS, None):
        table = make_table([one], width)
        headings = [column.heading for column in table.columns]
        shown[width] = headings[4:]
        everything = {"seconds", "audio", "visual", "unknown score", "audio-visual"}
        assert {*shown[width], *table.hidden} == everything
    assert shown[60] == []
    assert shown[80] == ["seconds", "audio"]
    assert shown[120] == ["seconds", "audio", "visual", "unknown score"]
    assert shown[200] == shown[None] == [*shown[120], "audio-visual"]
    assert "siren 0.97  siren 0.97" in text_of(make_table([one], 120))


def test_without_a_width_each_row_is_one_line_with_all_columns(predictions):
    table = make_table(predictions, None)
    lines = list(table.lines())
    assert len(lines) == 2 + len(predictions)
    assert table.hidden == []
    for line, one in zip(lines[2:], predictions, strict=True):
        assert line.startswith(one.file)
    assert "siren 0.97, dog 0.02, cat 0.01" in lines[2]
    assert lines[-1].endswith("error: unreadable: it does not open: no such format")


def test_a_pipe_gets_the_first_four_columns_whole_and_remarks(predictions):
    table = make_table(predictions, None, is_brief=True)
    headings = [one.heading for one in table.columns]
    assert headings == ["file", "label", "probability", "unknown", "remarks"]
    lines = list(table.lines())
    assert len(lines) == 2 + len(predictions)
    for line, one in zip(lines[2:], predictions, strict=True):
        assert line.startswith(one.file)
        assert (one.label or "error: unreadable") in line
    plain = make_table(predictions[:3], None, is_brief=True)
    assert [one.heading for one in plain.columns] == headings[:4]
    windows = [good("long.mp4"), good("long.mp4")]
    shown = make_table(windows, None, is_brief=True).columns
    assert [one.heading for one in shown] == [*headings[:4], "seconds"]


@pytest.mark.parametrize(
    "names",
    [
        ["a" * 90 + "x" + "b" * 90, "a" * 90 + "y" + "b" * 90],  # they differ in the middle alone
        ["x" + "a" * 150, "y" + "a" * 150],
        ["a" * 150 + "x", "a" * 150 + "y"],
    ],
)
def test_names_that_would_look_alike_are_shown_whole_or_elsewhere_shortened(names):
    for width in WIDTHS:
        file = make_table([good(name) for name in names], width).columns[0]
        assert file.cut(0) != file.cut(1)


def test_wide_characters_and_control_characters_keep_the_columns_straight():
    names = ["猫の鳴き声の長い長い名前のファイル.mp4", "two\nlines\x1b[31m.mp4", "caf\udce9.mp4"]
    predictions = [good(name, label="犬" * 30) for name in names]
    for width in WIDTHS:
        lines = list(make_table(predictions, width).lines())
        assert max(map(cell_len, lines)) <= width
        assert all(line.isprintable() for line in lines)
    lines = text_of(make_table(predictions, None))
    assert r"two\x0alines\x1b[31m.mp4" in lines
    assert r"caf\xe9.mp4" in lines


def test_windows_of_one_file_are_not_taken_for_names_that_look_alike():
    predictions = [good(f"{DEEP}/part-0001-of-0120.mp4") for _ in range(3)]
    file = make_table(predictions, 80).columns[0]
    assert [len(file.cut(row)) for row in range(3)] == [1, 1, 1]
