"""Small made lists of VGGSound and what is cut from it, with the defects of the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cign.errors import InputError
from lists import by_id, read, said, write
from refusals import input_error

# --- VGGSound ---

FULL = (
    'aaaaaaaaaaa,30,"dog, barking",train\n'
    "bbbbbbbbbbb,5,cat,train\n"
    '-,0,cat,train\nccccccccccc,120,"dog, barking",test\n'
)


def test_vggsound_full_list(tmp_path):
    write(tmp_path, vggsound__csv=FULL, test__csv="not,read,at all\n")
    for source, format in ((tmp_path, None), (tmp_path / "vggsound.csv", "vggsound")):
        table = read(source, format)
        clips = by_id(table)
        assert list(clips) == ["aaaaaaaaaaa_000030", "bbbbbbbbbbb_000005", "ccccccccccc_000120"]
        assert clips["ccccccccccc_000120"].labels == ("dog, barking",)
        assert clips["ccccccccccc_000120"].split == "test"
        assert clips["ccccccccccc_000120"].source == "ccccccccccc"
        assert table.class_names == ("dog, barking", "cat")
        assert said(table, "1 rows have '-'")


def test_vggsound_split_lists(tmp_path):
    write(
        tmp_path,
        train__csv="aaaaaaaaaaa_000030.mp4,cat\n",
        test__csv='bbbbbbbbbbb_000005.mp4,"dog, barking"\n',
    )
    clips = by_id(read(tmp_path, "vggsound"))
    assert clips["aaaaaaaaaaa_000030"].split == "train"
    assert clips["bbbbbbbbbbb_000005"].labels == ("dog, barking",)
    assert clips["bbbbbbbbbbb_000005"].split == "test"
    (tmp_path / "test.csv").rename(tmp_path / "mine.csv")
    with input_error("bad-list", "train.csv", "test.csv"):
        read(tmp_path / "mine.csv", "vggsound")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("aaaaaaaaaaa,x,cat,train", "start 'x' is not a number of seconds"),
        ("aaaaaaaaaaa,nan,cat,train", "start 'nan'"),
        ("aaaaaaaaaaa,-1,cat,train", "start '-1'"),
        ("../aaaaaaaa,30,cat,train", "could leave the media folder"),
        ("/etc/passwd,30,cat,train", "could leave the media folder"),
        ("a a;$(rm),30,cat,train", "other characters than letters"),
        ("aaaa\u00e4aaaaaa,30,cat,train", "other characters than letters"),
        ("aaaaaaaaaaa,30,cat,valid", "use one of train, test"),
        ("aaaaaaaaaaa,30,,train", "class name '' is empty"),
        ("aaaaaaaaaaa,30,dog, barking,train", "double quotes"),
        ("aaaaaaaaaaa,30,cat,train\naaaaaaaaaaa,30,cat,test", "remove one of the rows"),
        ("aaaaaaaaaaa,30,cat,train\naaaaaaaaaaa,30,dog,train", "join them by '|'"),
        ('aaaaaaaaaaa,30,"cat,train', "correct it"),
    ],
)
@pytest.mark.parametrize("split", [None, "corrected"])
def test_vggsound_refuses(tmp_path, row, message, split):
    write(tmp_path, vggsound__csv=f"bbbbbbbbbbb,5,cat,train\n{row}\n")
    with pytest.raises(InputError) as caught:
        read(tmp_path, "vggsound", split=split)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_vggsound_100_takes_the_classes_of_a_list(tmp_path):
    write(tmp_path, vggsound__csv=FULL)
    with input_error("file-missing", "classes.txt"):
        read(tmp_path, "vggsound-100")
    write(tmp_path, classes__txt="cat\n\n")
    table = read(tmp_path, "vggsound-100")
    assert [clip.id for clip in table.clips] == ["bbbbbbbbbbb_000005"]
    assert said(table, "1 of 2 labels")
    write(tmp_path, classes__txt="cat\ndog, barking\n")
    assert read(tmp_path, "vggsound-100").class_names == ("cat", "dog, barking")
    for text, message in (
        ("cat\nowl\n", "'owl', which is not a label"),
        ("cat\ncat\n", "'cat' twice"),
        ("\n", "is empty"),
    ):
        write(tmp_path, classes__txt=text)
        with pytest.raises(InputError, match=message):
            read(tmp_path, "vggsound-100")


# --- VGGSound-Instruments ---


def instruments(folder: Path) -> Path:
    """Two groups of two classes; a wrong label, placeholders and a shared recording."""
    lists: dict[str, str] = {}
    full = []
    for group, classes in enumerate((("harp", "erhu"), ("piano", "banjo"))):
        rows = {"train": ["-,harp"], "val": [], "test": []}
        for label in classes:
            for number in range(20):
                clip = f"{label:_<8}{number:03d}_000010"
                split = "train" if number < 14 else "val" if number < 17 else "test"
                rows[split].append(f"{clip},{label}")
                full.append(f"{clip},{label}")
        # Another part of a training recording.
        rows["test"].append(f"{classes[0]:_<8}000_000050,{classes[0]}")
        full.append(f"{classes[0]:_<8}000_000050,{classes[0]}")
        wrong = rows["test"][0].partition(",")[0]
        rows["test"][0] = f"{wrong},{classes[1]}"
        for split, lines in rows.items():
            name = f"avctl_vgginstruments_group_{group}_{split}__txt"
            lists[name] = "".join(f"{line}\n" for line in lines)
    lists["vgginstruments_train__txt"] = "".join(
        f"{line}\n" for line in [*full, "djembe____0_000001,djembe"]
    )
    return write(folder, **lists)


def test_instruments_historical(tmp_path):
    table = read(instruments(tmp_path))
    assert table.class_names == ("harp", "erhu", "piano", "banjo")
    assert {s: sum(c.values()) for s, c in table.counts().items()} == {
        "train": 56,
        "val": 12,
        "test": 14,
    }
    assert by_id(table)["harp____017_000010"].labels == ("erhu",)
    assert said(table, "2 test lines have another label")
    assert said(table, "2 rows have '-'")
    assert said(table, "2 published groups of 2, 2 classes")
    assert read(tmp_path, split="historical").list_hash == table.list_hash


def test_instruments_corrected(tmp_path):
    historical = read(instruments(tmp_path))
    table = read(tmp_path, split="corrected")
    assert table.class_names == historical.class_names
    assert by_id(table)["harp____017_000010"].labels == ("harp",)
    assert said(table, "2 labels were corrected")
    splits_of: dict[str, set[str]] = {}
    for clip in table.clips:
        splits_of.setdefault(clip.source, set()).add(clip.split)
    assert len(splits_of) == 80
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert {name for counts in table.counts().values() for name in counts} == set(table.class_names)
    assert table.list_hash != historical.list_hash
    assert read(tmp_path, split="corrected").list_hash == table.list_hash


def test_instruments_without_their_full_list(tmp_path):
    (instruments(tmp_path) / "vgginstruments_train.txt").unlink()
    table = read(tmp_path)
    assert said(table, "labels cannot be checked")
    (tmp_path / "avctl_vgginstruments_group_1_val.txt").unlink()
    with input_error("file-missing", "avctl_vgginstruments_group_1_val"):
        read(tmp_path)


# --- VGG-Sound Sources ---


def test_vgg_sound_sources(tmp_path):
    entries = [
        {
            "file": "aaaaaaaaaaa_000030",
            "class": "cat",
            "bbox": [[0.1, 0.2, 0.3, 0.4], [0, 0, 1, 1]],
        },
        {"file": "bbbbbbbbbbb_000005", "class": "dog", "bbox": [[0.1, 1.0, 0.3, 1.0]]},
        {
            "file": "ccccccccccc_000005",
            "class": "dog",
            "bbox": [[0, 0, 0.5, -2.9e16], [0, 0, 1, 1]],
        },
    ]
    write(tmp_path, vggss__json=json.dumps(entries))
    table = read(tmp_path)
    assert [len(clip.boxes) for clip in table.clips] == [2, 0, 1]
    assert {clip.split for clip in table.clips} == {"test"}
    assert said(table, "3 annotated clips with 3 boxes")
    assert said(table, "2 further boxes are empty")
    assert said(table, "1 of the annotated clips have no valid box")
    assert said(table, "test clips only")
    train = [f"aaaaaaaaaaa,{n},cat,train" for n in (60, 90)]
    train += [f"ddddddddd{n:02d},{n},dog,train" for n in range(20)]
    write(tmp_path, vggsound__csv="\n".join([*train, "eeeeeeeeeee,1,owl,train"]) + "\n")
    table = read(tmp_path)
    assert table.counts() == {"train": {"cat": 2, "dog": 20}, "test": {"cat": 1, "dog": 2}}
    table = read(tmp_path, split="corrected")
    assert table.counts() == {"train": {"dog": 18}, "val": {"dog": 2}, "test": {"cat": 1, "dog": 2}}
    assert said(table, "2 training clips share a recording with test")


@pytest.mark.parametrize("text", ["{}", "[]", '[{"file": "aaaaaaaaaaa_000030"}]', "[3]", "[["])
def test_vgg_sound_sources_refuses(tmp_path, text):
    write(tmp_path, vggss__json=text)
    with pytest.raises(InputError, match=r"as published|restore"):
        read(tmp_path)
