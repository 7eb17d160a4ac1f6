"""Benchmarks by name: their figures, the classes they take, and their tasks."""

from pathlib import Path

import pytest

from cign.data.benchmarks import BENCHMARKS, load_benchmark, published_tasks
from cign.data.clips import Clip, ClipTable
from cign.data.exemplar_memory import MemoryBudget
from cign.data.formats import FORMATS
from cign.data.formats.splits import SPLIT_KINDS
from cign.data.media.presets import PRESETS
from refusals import input_error


def table(num_classes, test_clips=lambda number: 3):
    clips = [
        Clip(id=f"{split}{c}-{n}", path=Path(f"{c}-{n}.mp4"), labels=(f"c{c:03d}",), split=split)
        for c in range(num_classes)
        for split, number in (("train", 2), ("test", test_clips(c)))
        for n in range(number)
    ]
    return ClipTable(tuple(clips), tuple(f"c{c:03d}" for c in range(num_classes)))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_is_whole_and_names_its_sources(name):
    benchmark = load_benchmark(name)
    assert benchmark.format in FORMATS
    assert benchmark.split in SPLIT_KINDS
    assert benchmark.preset in PRESETS
    assert {"tasks", "split", "preset"} - set(benchmark.sources) <= {"tasks"}
    assert {"tasks", "num_classes"} & set(benchmark.sources)
    for number, memory in benchmark.tasks.items():
        assert benchmark.num_classes % number == 0
        MemoryBudget.parse(memory)


def test_the_protocols_sizes():
    sizes = {
        name: [(t, load_benchmark(name).num_classes // t) for t in load_benchmark(name).tasks]
        for name in BENCHMARKS
    }
    assert sizes == {
        "vggsound-instruments": [(4, 9)],
        "vggsound-100": [(4, 25), (10, 10)],
        "vgg-sound-sources": [(4, 55)],
        "ave": [(4, 7)],
        "kinetics-sounds": [(5, 6)],
    }
    assert load_benchmark("ave").tasks[4] == "340"
    assert load_benchmark("kinetics-sounds").tasks[5] == "500"
    assert load_benchmark("vggsound-100").tasks[10] == "1500"


def test_vgg_sound_sources_leaves_out_the_first_of_the_rarest_classes():
    rare = {17: 1, 30: 1, 5: 2}
    chosen = load_benchmark("vgg-sound-sources").select(table(221, lambda c: rare.get(c, 3)))
    assert len(chosen.class_names) == 220
    assert "c017" not in chosen.class_names
    assert {"c030", "c005"} <= set(chosen.class_names)
    assert all("c017" not in clip.labels for clip in chosen.clips)
    assert any("leaves out class 'c017'" in note for note in chosen.notes)


def test_another_number_of_classes_is_refused():
    with input_error("store-mismatch", "ave", "28", "the source", "27"):
        load_benchmark("ave").select(table(27))
    assert load_benchmark("ave").select(table(28)).class_names[0] == "c000"
    with input_error("unknown-name", "benchmark", "'avr'"):
        load_benchmark("avr")


def test_published_groups_stay_together_in_every_order():
    names = table(12).class_names
    published = published_tasks(names, 4).groups
    assert published == tuple(names[k : k + 3] for k in (0, 3, 6, 9))
    orders = {published_tasks(names, 4, order).groups for order in range(1, 5)}
    assert len(orders) > 2
    for groups in orders:
        assert sorted(groups) == sorted(published)


def test_the_commands_heed_it(cign, tiny, tmp_path):
    for command in (
        ("train", tiny[1], "--out", tmp_path / "run", "--benchmark", "ave"),
        ("bench", tiny[1], "--out", tmp_path / "b", "--methods", "analytic", "--benchmark", "ave"),
    ):
        code, _, err = cign(*command)
        assert code == 2
        assert "benchmark ave has 28 classes, but store" in err
    code, _, err = cign("inspect", tiny[0], "--benchmark", "ave", "--format", "folders")
    assert code == 2
    code, _, err = cign("bench", tiny[1], "--out", tmp_path / "b", "--methods", "analytic")
    assert (code, "give --tasks T,U" in err) == (2, True)
