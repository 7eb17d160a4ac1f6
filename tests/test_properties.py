"""What holds for any input: the reader of tables, tasks, quotas, metrics and options."""

import csv
import io
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cign.data.exemplar_memory import MemoryBudget
from cign.data.formats.label_texts import label_text
from cign.data.formats.labels import is_missing
from cign.data.formats.table import read_table
from cign.data.tasks import TaskClips, split_into_tasks
from cign.errors import CignError
from cign.metrics.incremental import summarise
from cign.metrics.predictions import Predictions
from cign.utils.options import configure
from cign.vocabulary import MODALITIES, SPLITS

SOME = settings(max_examples=60, deadline=None)
# Labels come back in normal form C, whatever form they were written in (test_clips.py).
# Words that other programs write for a missing value are no class names of a table.
names = (
    st.text(st.characters(categories=("L", "N")), min_size=1, max_size=8)
    .map(lambda name: unicodedata.normalize("NFC", name))
    .filter(lambda name: not is_missing(name))
)
rows = st.lists(
    st.tuples(st.lists(names, min_size=1, max_size=3, unique=True), st.sampled_from(SPLITS)),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tables") / "table.csv"


@SOME
@given(rows)
def test_a_table_comes_back_as_it_was_written(place, rows):
    with place.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "labels", "split"])
        writer.writerows(
            [f'{number}, "a".mp4', "|".join(map(label_text, labels)), split]
            for number, (labels, split) in enumerate(rows)
        )
    clips = read_table(place).clips
    assert [(list(clip.labels), clip.split) for clip in clips] == rows
    assert [clip.id for clip in clips] == [f'{n}, "a".mp4' for n in range(len(rows))]


cells = st.text(max_size=12) | st.sampled_from(
    [
        "../x.mp4",
        "/etc/passwd",
        "a.mp4",
        "nan",
        "inf",
        "-1",
        "1e400",
        "0,0,1,1",
        "train",
        "|",
        "a|a",
    ]
)
columns = ["path", "labels", "split", "start_s", "end_s", "box", "sound_start_s", "audio_present"]


@SOME
@given(st.lists(st.lists(cells, min_size=8, max_size=8), max_size=5))
def test_any_table_is_read_or_refused_in_a_sentence(place, rows):
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    place.write_bytes(text.getvalue().encode("utf-8", "surrogatepass"))
    check_table(place)


@SOME
@given(st.binary(max_size=200))
@example(b'"')
def test_any_bytes_are_a_table_or_refused_in_a_sentence(place, data):
    place.write_bytes(b"path,labels,split\n" + data)
    check_table(place)
    place.write_bytes(data)
    check_table(place)


def check_table(place):
    """What is read stays inside its folder and has sane values; all else is a `CignError`."""
    try:
        clips = read_table(place).clips
    except CignError as error:
        assert str(error)  # noqa: PT017
        return
    for clip in clips:
        assert Path(clip.path).resolve().is_relative_to(place.parent.resolve())
        assert clip.labels
        assert all(clip.labels)
        assert clip.split in SPLITS
        assert clip.end_s is None or clip.end_s > (clip.start_s or 0.0) >= 0.0


@SOME
@given(st.integers(1, 30), st.data(), st.integers(0, 3))
def test_every_clip_comes_in_one_task(num_classes, data, order):
    num_tasks = data.draw(st.integers(1, num_classes))
    classes = [f"c{number}" for number in range(num_classes)]
    labels = data.draw(
        st.lists(st.lists(st.sampled_from([*classes, "never"]), min_size=1, unique=True))
    )
    tasks = split_into_tasks(classes, num_tasks, order)
    assert max(tasks.sizes) - min(tasks.sizes) <= 1
    assert list(tasks.sizes) == sorted(tasks.sizes, reverse=True)
    clips = TaskClips.of([tuple(some) for some in labels], tasks)
    everything = np.arange(len(labels))
    parts = [clips.of_task(everything, task) for task in range(num_tasks)]
    taught = [i for i, some in enumerate(labels) if "never" not in some]
    assert sorted(i for part in parts for i in part) == taught
    for task in range(num_tasks):
        assert sorted(clips.up_to(everything, task)) == sorted(
            i for part in parts[: task + 1] for i in part
        )


@SOME
@given(
    st.integers(0, 10**6),
    st.sampled_from(["total", "class", "bytes"]),
    st.integers(1, 300),
    st.integers(1, 10**5),
)
def test_quotas_never_exceed_the_budget(amount, unit, num_classes, bytes_per_clip):
    budget = MemoryBudget(amount, unit)
    assert MemoryBudget.parse(str(budget)) == budget or amount == 0
    total = amount // bytes_per_clip if unit == "bytes" else amount
    if unit != "class" and amount > 0 and total < num_classes:
        with pytest.raises(CignError, match="fewer than one for each"):
            budget.quotas(num_classes, bytes_per_clip)
        return
    quotas = budget.quotas(num_classes, bytes_per_clip)
    assert quotas.shape == (num_classes,)
    assert quotas.max() - quotas.min() <= 1
    assert quotas.sum() == (amount * num_classes if unit == "class" else total if amount else 0)


@SOME
@given(st.integers(2, 6), st.data(), st.integers(0, 10**6))
def test_metrics_stay_in_their_ranges_and_heed_no_order(num_classes, data, seed):
    num_tasks = data.draw(st.integers(1, num_classes))
    classes = [f"c{number}" for number in range(num_classes)]
    sizes = split_into_tasks(classes, num_tasks).sizes
    draw = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(num_classes), draw.integers(0, num_classes, 8)])
    seen = np.cumsum(sizes)
    scores = [
        {modality: draw.random((len(labels), number), np.float32) for modality in MODALITIES}
        for number in seen
    ]

    def numbers(rows):
        predictions = Predictions(
            clip_ids=[str(row) for row in rows],
            labels=[(classes[labels[row]],) for row in rows],
            class_names=tuple(classes),
            task_sizes=sizes,
        )
        for some in scores:
            predictions.add_task({name: values[rows] for name, values in some.items()})
        return summarise(predictions)

    found = numbers(np.arange(len(labels)))
    again = numbers(draw.permutation(len(labels)))
    for modality in MODALITIES:
        for name in ("last", "average", "forgetting"):
            value, other = found[modality][name], again[modality][name]
            assert (value is None) == (other is None)
            if value is not None:
                assert value == pytest.approx(other, abs=1e-9)
                assert (-100.0 if name == "forgetting" else 0.0) <= value <= 100.0


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1
    steps: int = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    kind: Literal["a", "b"] = "a"
    name: str | None = None
    sizes: tuple[int, ...] = ()
    is_on: bool = False


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
options = st.dictionaries(
    st.sampled_from(["inner", "kind", "name", "sizes", "is_on", "nmae", ""]), values
)


@SOME
@given(options)
def test_options_are_of_their_types_or_refused(options):
    try:
        filled = configure(Outer, options, "recipe")
    except CignError as error:
        assert str(error).startswith("recipe")  # noqa: PT017
        return
    assert set(options) <= {"inner", "kind", "name", "sizes", "is_on"}
    assert isinstance(filled.inner.rate, float)
    assert type(filled.inner.steps) is int
    assert filled.kind in ("a", "b")
    assert filled.name is None or isinstance(filled.name, str)
    assert all(type(size) is int for size in filled.sizes)
    assert type(filled.is_on) is bool
