"""Few-shot lists and folds of the benchmark of real recordings."""

from collections import Counter
from pathlib import Path

import pytest

from benchmark_scripts import BENCHMARKS, script
from cign.data.clips import Clip
from cign.data.formats.table import read_table
from cign.errors import InputError

SETS = ("real24", "real24_clutter", "real24_duets")
few_shot = script("few_shot")
folds = script("folds")


def clips_of(name):
    return read_table(BENCHMARKS / "real" / f"{name}.csv").clips


def counts_of(clips, indices, split="train"):
    return Counter(
        label for index in indices if clips[index].split == split for label in clips[index].labels
    )


@pytest.mark.parametrize("name", SETS)
def test_few_shot_lists_are_nested_and_leave_val_and_test_unchanged(name):
    clips = clips_of(name)
    others = {index for index, clip in enumerate(clips) if clip.split != "train"}
    before = others
    for num_shots in few_shot.SHOTS:
        chosen = few_shot.few_shot(clips, num_shots)
        assert chosen == sorted(set(chosen))
        counts = counts_of(clips, chosen)
        assert len(counts) == 24
        assert min(counts.values()) >= num_shots
        if name != "real24_duets":
            assert set(counts.values()) == {num_shots}
        assert before < set(chosen)
        assert {index for index in chosen if clips[index].split != "train"} == others
        before = set(chosen)


def test_few_shot_lists_do_not_depend_on_the_order_and_agree_between_sets():
    clips = clips_of("real24")
    chosen = {clips[index].id for index in few_shot.few_shot(clips, 5)}
    backwards, clutter = clips[::-1], clips_of("real24_clutter")
    assert {backwards[index].id for index in few_shot.few_shot(backwards, 5)} == chosen
    assert {clutter[index].id for index in few_shot.few_shot(clutter, 5)} == chosen


def test_few_shot_tables_are_written_beside_the_table_and_read_from_there(tmp_path):
    text = (BENCHMARKS / "real" / "real24_clutter.csv").read_text()
    (tmp_path / "clips.csv").write_text(text)
    paths = few_shot.write_few_shot(tmp_path)
    assert [path.name for path in paths] == [f"few_shot_{n}.csv" for n in (1, 2, 5, 10)]
    lines = text.splitlines()
    for path, num_shots in zip(paths, few_shot.SHOTS, strict=True):
        clips = read_table(path).clips
        assert len(clips) == 24 * num_shots + 188 + 315
        assert clips[0].path.parents[2] == tmp_path
        written = path.read_text().splitlines()
        assert written == [line for line in lines if line in {*written}]


def test_more_shots_than_a_class_has_are_refused_and_written_lists_leave_them_out(tmp_path):
    rows = [f"{label}_{i}.mp4,{label},train" for label in "ab" for i in range(3)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,labels,split", *rows, ""]))
    clips = read_table(tmp_path).clips
    with pytest.raises(InputError, match="3 training clips"):
        few_shot.few_shot(clips, 5)
    with pytest.raises(InputError, match="num_shots is 0"):
        few_shot.few_shot(clips, 0)
    assert [path.name for path in few_shot.write_few_shot(tmp_path)] == [
        "few_shot_1.csv",
        "few_shot_2.csv",
    ]


@pytest.mark.parametrize("name", SETS)
def test_a_test_clip_has_all_its_sources_in_the_fold_and_a_training_clip_none(name):
    clips = clips_of(name)
    used = {index for index, clip in enumerate(clips) if clip.split != "test"}
    found = folds.folds(clips)
    tested = Counter(index for fold in found for index in fold.test)
    assert len(found) == 5
    own = [{s for index in fold.test for s in clips[index].source.split(" + ")} for fold in found]
    for number, fold in enumerate(found):
        learned = {s for index in fold.train for s in clips[index].source.split(" + ")}
        assert not learned & own[number]
        assert {*fold.train} | {*fold.test} <= used
        assert counts_of(clips, fold.train).keys() == {label for c in clips for label in c.labels}
        assert all(not own[number] & own[other] for other in range(number))
        # Clips that are in neither have one source inside the fold and one outside.
        for index in used - {*fold.train, *fold.test}:
            assert len(clips[index].labels) == 2
    assert set(tested.values()) == {1}
    if name == "real24_duets":
        assert 0.15 < len(tested) / len(used) < 0.3
    else:
        assert tested.keys() == used
        assert all(set(fold.train) | set(fold.test) == used for fold in found)


def test_folds_have_similar_numbers_of_clips_of_each_class():
    clips = clips_of("real24")
    used = [index for index, clip in enumerate(clips) if clip.split != "test"]
    speakers = {clip.labels[0] for clip in clips if clip.source.startswith("fsdd")}
    for label in {clip.labels[0] for clip in clips} - speakers:
        share = sum(clips[index].labels[0] == label for index in used) / 5
        for fold in folds.folds(clips):
            count = sum(clips[index].labels[0] == label for index in fold.test)
            assert abs(count - share) <= 4  # a source has at most four clips


def make(source, labels, split="train"):
    path = f"{source}/{labels}.mp4"
    return Clip(
        id=path, path=Path(path), labels=tuple(labels.split("|")), split=split, source=source
    )


def test_folds_depend_on_neither_the_order_nor_the_test_split():
    clips = clips_of("real24_duets")
    backwards = clips[::-1]
    found = [{clips[i].id for i in fold.test} for fold in folds.folds(clips)]
    assert [{backwards[i].id for i in fold.test} for fold in folds.folds(backwards)] == found
    only = [clip for clip in clips if clip.split != "test"]
    assert [{only[i].id for i in fold.test} for fold in folds.folds(only)] == found


def test_two_sources_of_a_clip_are_two_sources():
    clips = [make("a", "x"), make("b", "y"), make("a + b", "x|y"), make("c", "x", "test")]
    first, second = folds.folds(clips, 2)
    assert {first.test, second.test} == {(0,), (1,)}
    assert {first.train, second.train} == {(0,), (1,)}
    with pytest.raises(InputError, match="2 sources are too few"):
        folds.folds(clips, 3)
    with pytest.raises(InputError, match="num_folds is 1"):
        folds.folds(clips, 1)
