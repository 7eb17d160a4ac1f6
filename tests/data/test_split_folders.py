"""Names of splits in every spelling; layouts in which splits could pass for classes."""

from __future__ import annotations

import tarfile

import pytest

from cign.data.formats import read_source
from cign.data.formats.split_names import sure_split
from cign.errors import InputError

from .conftest import touch


def lay_out(folder, *splits, classes=("dog", "cat")):
    """Two clips of each class in each split folder."""
    names = (f"{s}/{c}/{i}.mp4" for s in splits for c in classes for i in range(2))
    return touch(folder, *names)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("Train", "Val", "Test"),
        ("TRAIN", "VAL", "TEST"),
        ("training", "validation", "testing"),
        ("Training", "Validate", "Testing"),
        ("train", "valid", "test"),
        ("train", "dev", "test"),
        ("train", "Dev", "eval"),
        ("train", "eval", "test"),
        ("train_set", "val-set", "TestSet"),
        ("train2017", "val2017", "test2017"),
        ("1_train", "2_val", "3_test"),
        ("train_data", "valdata", "test data"),
    ],
)
def test_spellings(train, val, test, tmp_path):
    read = read_source(lay_out(tmp_path, train, val, test))
    assert read.class_names == ("cat", "dog")
    both = {"cat": 2, "dog": 2}
    assert read.counts() == {"train": both, "val": both, "test": both}
    renamed = [(s, n) for s, n in ((test, "test"), (train, "train"), (val, "val")) if s != n]
    for name, split in renamed:
        assert f"{name} as {split}" in read.notes[0]
    assert all(clip.path.is_file() for clip in read.clips)


def test_canonical_names_need_no_word(tmp_path):
    read = read_source(lay_out(tmp_path, "train", "val", "test"))
    assert read.notes == ()


def test_unknown_in_any_case(tmp_path):
    lay_out(tmp_path, "Train", "Test")
    touch(tmp_path, "Unknown/eel/1.mp4")
    assert read_source(tmp_path).counts()["unknown"] == {"eel": 1}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        # Splits without class folders.
        (["train/1.mp4", "train/2.mp4"], "'train' of source .* has clips outside class folders"),
        (["train/1.mp4", "test/1.mp4"], "outside class folders: put them into t[a-z]*/<class>/"),
        (["Training/1.mp4", "Validation/1.mp4"], "outside class folders"),
        (["train/a/1.mp4", "train/b/1.mp4", "test/1.mp4"], "'test' .* outside class folders"),
        (["train/1.mp4", "test/1.mp4", "bus/1.mp4"], "outside class folders"),
        # Two names of one split, or one for either of two.
        (["train/a/1.mp4", "Training/b/1.mp4"], "'Training' and 'train', which both stand for"),
        (["dev/a/1.mp4", "eval/b/1.mp4"], "'dev', which may stand for training or validation"),
        (["train/a/1.mp4", "val/a/1.mp4", "dev/b/1.mp4"], "'dev', which may stand for"),
        (
            ["train/a/1.mp4", "val/a/1.mp4", "test/b/1.mp4", "eval/b/1.mp4"],
            "'eval', which may stand for validation or test",
        ),
        # Beside other folders.
        (["Train/a/1.mp4", "Test/a/1.mp4", "extra/b/1.mp4"], "'extra' of source .* not a split"),
        # Names that mention splits.
        (["my_train/a/1.mp4", "my_test/a/1.mp4"], "'my_test', 'my_train' .* look like splits"),
        (["setTrain/a/1.mp4", "setTest/a/1.mp4"], "'setTest', 'setTrain' .* look like splits"),
        # Splits inside of classes, or one folder further down.
        (["dog/train/1.mp4", "dog/test/1.mp4", "cat/train/1.mp4"], r"contains folders of splits"),
        (["data/Train/a/1.mp4", "data/Test/a/1.mp4"], r"\(Test, Train\): give .*/data as the"),
    ],
)
def test_splits_never_become_classes_without_a_word(names, said, tmp_path):
    with pytest.raises(InputError, match=said) as caught:
        read_source(touch(tmp_path, *names), min_classes=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (["train/1.mp4", "bus/1.mp4"], ("bus", "train")),
        (["unknown/1.mp4", "yes/1.mp4", "no/1.mp4"], ("no", "unknown", "yes")),
        (["train horning/1.mp4", "test pattern/1.mp4"], ("test pattern", "train horning")),
        (["trainer/x/1.mp4", "tester/x/1.mp4"], ("tester", "trainer")),
        (["dog/day1/1.mp4", "cat/day1/1.mp4"], ("cat", "dog")),
        (["dog/train/1.mp4", "cat/1.mp4"], ("cat", "dog")),
    ],
)
def test_classes_may_be_named_like_one_split(names, classes, tmp_path):
    assert read_source(touch(tmp_path, *names)).class_names == classes


def test_the_words_of_a_column():
    expected = {
        **dict.fromkeys(("train", "Train", "TRAINING", " trn "), "train"),
        **dict.fromkeys(("val", "valid", "Validation", "validate"), "val"),
        **dict.fromkeys(("test", "Testing", "TST"), "test"),
        **dict.fromkeys(("dev", "eval", "test2", "learn", "", "trainer", "1"), None),
    }
    assert {word: sure_split(word) for word in expected} == expected


def shards(folder, *names):
    """Shards with a clip of each of two classes."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        label = folder.parent / "label"
        clip = touch(folder.parent, "clip.mp4") / "clip.mp4"
        with tarfile.open(path, "w") as tar:
            for key in "ab":
                label.write_text(key)
                tar.add(clip, f"{key}.mp4")
                tar.add(label, f"{key}.cls")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("train-0.tar", "val-0.tar", "test-0.tar"),
        ("Train-0.tar", "VALID_0.tar", "Testing.0.tar"),
        ("Training/0.tar", "Validation/0.tar", "test/0.tar"),
        ("train/0.tar", "dev/0.tar", "eval/0.tar"),
        ("cc3m-train-0.tar", "cc3m-val-0.tar", "cc3m-test-0.tar"),
    ],
)
def test_shards_say_their_split_in_any_spelling(names, tmp_path):
    counts = read_source(shards(tmp_path / "shards", *names)).counts()
    both = {"a": 1, "b": 1}
    assert counts == {"train": both, "val": both, "test": both}


def test_a_word_inside_of_all_shards_is_no_split(tmp_path):
    names = [f"bullet-train-{number}.tar" for number in range(10)]
    counts = read_source(shards(tmp_path / "shards", *names)).counts()
    assert set(counts) == {"train", "val", "test"}
