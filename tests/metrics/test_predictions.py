"""Predictions survive a file exactly, and refuse what would silently falsify the numbers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cign.errors import InputError
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES
from refusals import input_error


def random_scores(num_clips, num_classes, seed=0):
    generator = np.random.default_rng(seed)
    return {r: generator.normal(size=(num_clips, num_classes)) for r in MODALITIES}


def make(num_tasks=2):
    sizes = (2, 1)
    return Predictions(
        clip_ids=["a/1", "b/2", "c/3", "zz/4"],
        labels=[("a",), ("b", "c"), ("c",), ("never taught",)],
        class_names=("c", "a", "b"),
        task_sizes=sizes,
        scores=[random_scores(4, sum(sizes[: k + 1]), seed=k) for k in range(num_tasks)],
    )


@pytest.mark.parametrize("num_tasks", [1, 2])
def test_file_round_trip_is_exact(tmp_path: Path, num_tasks):
    predictions = make(num_tasks)
    predictions.scores[0]["audio"][0, 0] = -np.inf
    path = tmp_path / "predictions.parquet"
    predictions.save(path)
    again = Predictions.load(path)
    assert again.clip_ids == predictions.clip_ids
    assert again.labels == predictions.labels
    assert again.class_names == ("c", "a", "b")
    assert again.task_sizes == (2, 1)
    assert again.num_tasks_done == num_tasks
    for before, after in zip(predictions.scores, again.scores, strict=True):
        for modality in MODALITIES:
            assert after[modality].dtype == np.float32
            np.testing.assert_array_equal(before[modality], after[modality])


def test_file_is_read_without_threads_of_arrow(tmp_path: Path, monkeypatch):
    make().save(tmp_path / "predictions.parquet")
    # Its scanner waits forever for a thread that found no memory.
    monkeypatch.delattr("pyarrow.parquet.read_table")
    Predictions.load(tmp_path / "predictions.parquet")


def test_file_is_the_agreed_table(tmp_path: Path):
    make().save(tmp_path / "p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["clip", "task", "labels", "audio", "visual", "audio_visual"]
    assert table["task"].to_pylist() == [1] * 4 + [2] * 4
    assert table["labels"][1].as_py() == ["b", "c"]
    assert [len(x) for x in table["audio"].to_pylist()] == [2] * 4 + [3] * 4
    assert list(tmp_path.iterdir()) == [tmp_path / "p.parquet"]


def test_same_predictions_give_the_same_bytes(tmp_path: Path):
    make().save(tmp_path / "1")
    make().save(tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize("num_tasks", [0, 1])
def test_no_clips(tmp_path: Path, num_tasks):
    empty = Predictions(clip_ids=[], labels=[], class_names=("a",), task_sizes=(1,))
    for _ in range(num_tasks):
        empty.add_task(random_scores(0, 1))
    empty.save(tmp_path / "p.parquet")
    again = Predictions.load(tmp_path / "p.parquet")
    assert (again.num_clips, again.num_tasks_done) == (0, num_tasks)


@pytest.mark.parametrize("modality", MODALITIES)
def test_nan_is_refused_and_names_the_clip(modality):
    scores = random_scores(4, 3)
    scores[modality][2, 1] = np.nan
    with input_error("diverged", modality, "clip c/3", "task 2"):
        make(1).add_task(scores)


def test_wrong_shapes_are_refused():
    with input_error("bad-value", "(4, 2)", "(4, 3)"):
        make(1).add_task(random_scores(4, 2))
    with input_error("bad-value", "(5, 3)"):
        make(1).add_task(random_scores(5, 3))
    with input_error("bad-value", "visual"):
        make(1).add_task({"audio": np.zeros((4, 3)), "audio_visual": np.zeros((4, 3))})
    with input_error("bad-value", "after task 3", "2 tasks"):
        make(2).add_task(random_scores(4, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [("a",)]}, "4 clips but labels for 1"),
        ({"clip_ids": ["a", "a", "b", "c"]}, "unique"),
        ({"class_names": ("a", "a", "b")}, "unique"),
        ({"task_sizes": (2, 2)}, "do not add up to 3"),
        ({"task_sizes": (3, 0)}, "no task is empty"),
    ],
)
def test_inconsistent_runs_are_refused(change, message):
    whole = vars(make(0)) | change
    with pytest.raises(InputError, match=message):
        Predictions(**whole)


def test_bad_files_are_one_sentence(tmp_path: Path):
    path = tmp_path / "p.parquet"
    with input_error("file-missing", "p.parquet"):
        Predictions.load(path)
    path.write_bytes(b"PAR1 nothing of the sort")
    with input_error("file-unreadable", "p.parquet"):
        Predictions.load(path)
    make().save(path)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["visual", "labels"]), path)
    with input_error("file-unreadable", "lacks the columns labels, visual"):
        Predictions.load(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    with input_error("file-unreadable", "its metadata is missing or invalid"):
        Predictions.load(path)
    pq.write_table(table.slice(0, 7), path)
    with input_error("file-unreadable", "same clips in the same order"):
        Predictions.load(path)
    pq.write_table(pa.concat_tables([table.slice(4, 4), table.slice(0, 4)]), path)
    with input_error("file-unreadable", "same clips in the same order"):
        Predictions.load(path)


def test_failed_save_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "p.parquet"
    make().save(path)
    before = path.read_bytes()
    broken = make()
    broken.scores[1]["visual"] = "not an array"
    with pytest.raises(AttributeError):
        broken.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
