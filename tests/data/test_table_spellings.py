"""Tables as other programs write them: read to the same list, or refused naming the row."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cign.data.formats import read_source
from cign.errors import InputError
from refusals import input_error

from .conftest import touch

ROWS = [
    ("dog/1.mp4", "dog", "train"),
    ("cat/1.mp4", "cat", "train"),
    ("dog/2.mp4", "dog|cat", "test"),
]
HEADER = ("path", "labels", "split")


def text_of(rows=ROWS, header=HEADER, separator=",", end="\n"):
    return "".join(separator.join(row) + end for row in (header, *rows))


def read(tmp_path, text, name="list.csv", **how):
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return read_source(tmp_path / name, **how)


def refused(tmp_path, text, name="list.csv"):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def parquet(tmp_path, **columns):
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table(columns), path)
    return path


# --- spellings of the same list ---


@pytest.mark.parametrize(
    "text",
    [
        text_of(separator=";"),
        text_of(separator="\t"),
        "sep=;\n" + text_of(separator=";"),
        text_of(end="\r\n"),
        text_of(end="\r"),
        "\ufeff" + text_of(),
        "\ufeff" + text_of(separator=";", end="\r\n"),
        text_of(header=("Path", "Labels", "SPLIT")),
        text_of(header=(" path ", "labels ", " Split")),
        text_of([(path.replace("/", "\\"), *rest) for path, *rest in ROWS]),
        text_of([(path, labels, split.upper()) for path, labels, split in ROWS]),
        text_of([(p, lab, {"train": "training", "test": "Testing"}[s]) for p, lab, s in ROWS]),
        text_of() + ",,\n\n",
    ],
)
def test_the_same_list_in_other_spellings(text, tmp_path):
    expected = read(tmp_path, text_of(), "expected.csv")
    found = read(tmp_path, text)
    assert found.clips == expected.clips
    assert found.class_names == ("dog", "cat")


def test_tab_separated_files_are_tables(tmp_path):
    expected = read(tmp_path, text_of(), "expected.csv")
    assert read(tmp_path, text_of(separator="\t"), "list.tsv").clips == expected.clips


def test_semicolons_in_values_of_a_comma_separated_table(tmp_path):
    rows = [("a;b.mp4", "dog;x", "train"), ("c.mp4", "cat", "train")]
    assert read(tmp_path, text_of(rows)).class_names == ("dog;x", "cat")


def test_paths_of_other_systems(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    touch(tmp_path, "dog/a b#1?.mp4", "dog/1.mp4", "cat/x.mp4", "~odd.mp4", "c\\d.mp4")
    rows = [
        (f"file://{tmp_path}/dog/a%20b%231%3F.mp4", "dog", "train"),
        (f"file://localhost{tmp_path}/cat/x.mp4", "cat", "train"),
        ("~/dog/1.mp4", "dog", "train"),
        ("~odd.mp4", "dog", "train"),
        ("~nobody-is-called-so/1.mp4", "dog", "train"),
        ("c\\d.mp4", "dog", "train"),
        (".\\new\\x.mp4", "dog", "train"),
        ("new\\\\y.mp4", "dog", "train"),
    ]
    found = read(tmp_path, text_of(rows))
    assert [clip.path.relative_to(tmp_path).as_posix() for clip in found.clips] == [
        *("dog/a b#1?.mp4", "cat/x.mp4", "dog/1.mp4", "~odd.mp4"),
        *("~nobody-is-called-so/1.mp4", "c\\d.mp4", "new/x.mp4", "new/y.mp4"),
    ]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("C:\\clips\\1.mp4", "is a Windows path: list paths relative to a folder"),
        ("c:/clips/1.mp4", "is a Windows path"),
        ("\\\\server\\share\\1.mp4", "is a Windows path"),
        ("https://host/1.mp4", "is a URL of another machine: download the file"),
        ("s3://bucket/1.mp4", "is a URL of another machine"),
        ("file://server/share/1.mp4", "is a URL of another machine"),
        ("file:///etc/1.mp4", "leaves"),
        ("~/../1.mp4", "leaves"),
        ("..\\1.mp4", "leaves"),
        ("file:///a%00.mp4", "is not a file name"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused(path, said, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    sentence = refused(tmp_path, text_of([*ROWS, (path, "dog", "train")]))
    assert said in sentence
    assert "list.csv line 5" in sentence


# --- columns and rows ---


@pytest.mark.parametrize("header", ["path,labels,split,labels", "path,labels,split, Labels"])
def test_a_column_named_twice_is_refused(header, tmp_path):
    text = header + "\n1.mp4,dog,train,x\n2.mp4,cat,train,x\n"
    assert "has 2 columns named 'labels': remove or rename all but one" in refused(tmp_path, text)


def test_a_column_named_twice_in_parquet_is_refused(tmp_path):
    path = tmp_path / "list.parquet"
    values = [pa.array(["1.mp4"]), pa.array(["dog"]), pa.array(["train"]), pa.array(["x"])]
    pq.write_table(pa.Table.from_arrays(values, ["path", "labels", "split", "Labels"]), path)
    with input_error("bad-list", "2", "'labels'"):
        read_source(path, min_classes=1)


def test_columns_without_a_name_are_ignored(tmp_path):
    text = ",path,labels,split,\n0,1.mp4,dog,train,\n1,2.mp4,cat,train,\n"
    assert read(tmp_path, text).class_names == ("dog", "cat")


@pytest.mark.parametrize("missing", ["nan", "NaN", "NULL", "None", "<NA>", "NA", ""])
def test_a_missing_label_is_refused_with_its_line(missing, tmp_path):
    rows = [(*row, "") for row in ROWS]
    rows += [("4.mp4", "dog", "train", "x\u2028y"), ("5.mp4", "dog", "train", '"two\nlines"')]
    rows += [("6.mp4", missing, "train", ""), *rows]
    sentence = refused(tmp_path, text_of(rows, header=(*HEADER, "note")))
    assert "list.csv line 8:" in sentence
    assert "class name" in sentence


@pytest.mark.parametrize("missing", [None, float("nan")])
@pytest.mark.parametrize("number", [0, 4095, 4096, 9000])
def test_a_missing_label_in_parquet_is_refused_with_its_row(missing, number, tmp_path):
    labels = [float(row % 2) for row in range(9001)]
    labels[number] = missing
    paths = [f"{row}.mp4" for row in range(9001)]
    path = parquet(tmp_path, path=paths, labels=pa.array(labels), split=["train"] * 9001)
    with input_error("bad-list", f"list.parquet row {number + 1}", "class name"):
        read_source(path)


def test_a_missing_label_among_several_is_refused(tmp_path):
    path = parquet(
        tmp_path, path=["1.mp4", "2.mp4"], labels=[["dog"], ["cat", None]], split=["train"] * 2
    )
    with input_error("bad-list", "row 2", "null"):
        read_source(path)


@pytest.mark.parametrize("labels", [[0.0, 1.0, 0.0], [0, 1, 0], ["0.0", "1.0", "0.0"]])
def test_class_numbers_are_whole(labels, tmp_path):
    path = parquet(
        tmp_path, path=["1.mp4", "2.mp4", "3.mp4"], labels=labels, split=["train"] * 2 + ["test"]
    )
    found = read_source(path)
    assert found.class_names == ("0", "1")
    text = text_of(
        [(f"{i}.mp4", str(lab), s) for i, lab, s in zip("123", labels, "ttt", strict=True)]
    )
    found = read(tmp_path, text.replace(",t\n", ",train\n"))
    assert found.class_names == ("0", "1")


def test_class_names_that_are_other_numbers_stay(tmp_path):
    rows = [("1.mp4", "1.0", "train"), ("2.mp4", "1.5", "train"), ("3.mp4", "007", "train")]
    assert read(tmp_path, text_of(rows)).class_names == ("1.0", "1.5", "007")


def test_missing_paths_and_recordings(tmp_path):
    path = parquet(
        tmp_path, path=["1.mp4", None, "3.mp4"], labels=["a", "b", "a"], split=["train"] * 3
    )
    with pytest.raises(InputError, match="row 2: path '' is not a file name"):
        read_source(path)
    source = pa.array([float("nan"), None, 7.0])
    path = parquet(
        tmp_path,
        path=["1.mp4", "2.mp4", "3.mp4"],
        labels=["a", "b", "a"],
        split=["train"] * 3,
        source=source,
    )
    assert [clip.source for clip in read_source(path).clips] == ["1.mp4", "2.mp4", "7.0"]


def test_rows_that_contradict_each_other_are_both_named(tmp_path):
    text = text_of([*ROWS, ("dog/1.mp4", "dog", "test")])
    assert "list.csv (line 2 and line 5) lists clip dog/1.mp4" in refused(tmp_path, text)
    path = parquet(
        tmp_path,
        path=["1.mp4", "2.mp4", "1.mp4"],
        labels=["a", "b", "b"],
        split=["train"] * 3,
    )
    with input_error("bad-list", "(row 1 and row 3)", "1.mp4"):
        read_source(path)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_of_another_length_are_named(separator, tmp_path):
    text = text_of([*ROWS, ("a", "b", "train", "x")], separator=separator)
    sentence = refused(tmp_path, text)
    assert "line 5 has 4 values for 3 columns" in sentence


def test_classes_that_look_alike_are_told(tmp_path):
    rows = [*ROWS, ("3.mp4", "Dog", "train"), ("4.mp4", "tin_whistle", "train")]
    rows.append(("5.mp4", "tin whistle", "train"))
    notes = read(tmp_path, text_of(rows)).notes
    assert notes == (
        "warning: 'Dog' and 'dog' are 2 classes: give them one name if they are the same",
        "warning: 'tin whistle' and 'tin_whistle' are 2 classes: give them one name if they are "
        "the same",
    )


# --- names that are not UTF-8 ---


def test_tables_name_files_that_are_not_utf8(tmp_path):
    touch(tmp_path, "a.mp4")
    odd = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
    (tmp_path / odd).touch()
    rows = [("a.mp4", "x", "train"), (r"caf\xe9.mp4", "y", "train")]
    found = read(tmp_path, text_of(rows))
    assert [clip.path.name for clip in found.clips] == ["a.mp4", odd]
    assert [clip.id for clip in found.clips] == ["a.mp4", r"caf\xe9.mp4"]
