"""The grid becomes runs, each made once; what cannot be run is listed with its reason."""

from fnmatch import fnmatch

import pytest

from cign.bench.config import Entry, plain_entry, read_entries, with_defaults
from cign.bench.grid import Part, parse_parts
from cign.bench.plan import make_plan, run_name
from cign.data.tasks import split_into_tasks
from cign.errors import InputError
from refusals import input_error

from .fakes import CLIP_BYTES, config, entries, world


def plan_of(*names, worlds=None, **grid):
    return make_plan(config(methods=names, **grid), entries(*names), worlds or [world()])


def cells_of(plan):
    return {(cell.method, cell.tasks, cell.memory, cell.world): cell for cell in plan.cells}


def test_every_combination_is_a_run():
    plan = plan_of(
        "finetune",
        "cign",
        worlds=[world("a"), world("b"), world("c")],
        tasks=(2, 4),
        memories=("0", "8"),
        num_orders=(3,),
        num_seeds=2,
    )
    assert len(plan.cells) == 2 * 3 * 2 * 2
    assert len(plan.runs) == len(plan.cells) * 3 * 2
    assert all(len(cell.runs) == 6 for cell in plan.cells)
    assert sorted(name for cell in plan.cells for name in cell.runs) == sorted(
        run.name for run in plan.runs
    )
    run = next(run for run in plan.runs if run.name == "cign-b-t4-m8-o2-s1")
    assert run.groups == split_into_tasks(world().store.class_names, 4, 2).groups
    assert (run.entry.name, run.world, run.memory, run.order, run.seed) == ("cign", 1, "8", 2, 1)
    assert [(run.seed, run.order) for run in plan.runs] == sorted(
        (run.seed, run.order) for run in plan.runs
    )


def test_a_method_can_be_run_on_a_part_of_the_grid():
    name, part = Part.parse("cign:tasks=4:orders=1:memory=8,1MB:seeds=1")
    assert name == "cign"
    plan = plan_of(
        "finetune", "cign", tasks=(2, 4), num_orders=(3, 2), num_seeds=2, only={"cign": part}
    )
    cells = cells_of(plan)
    assert {key[1:3] for key in cells if key[0] == "cign"} == {(4, "8"), (4, "1MB")}
    assert len(cells["cign", 4, "8", 0].runs) == 1
    assert len(cells["finetune", 2, "0", 0].runs) == 6
    assert len(cells["finetune", 4, "0", 0].runs) == 4
    assert cells["cign", 4, "8", 0].notes == ("1 of 2 class orders, 1 of 2 seeds",)
    assert cells["finetune", 4, "0", 0].notes == ()


@pytest.mark.parametrize(
    "text", ["cign", "cign:", "cign:task=4", "cign:tasks=four", ":tasks=4", "cign:tasks=2:tasks=4"]
)
def test_a_part_that_cannot_be_read_is_refused(text):
    with pytest.raises(InputError, match="use the form"):
        Part.parse(text)


@pytest.mark.parametrize(
    ("text", "match"),
    [("other:tasks=2", "in --only"), ("cign:tasks=3", "--tasks"), ("cign:orders=0", "1 or more")],
)
def test_a_part_that_is_not_of_the_grid_is_refused(text, match):
    with pytest.raises(InputError, match=match):
        config(methods=("cign",), tasks=(2,), only=dict([Part.parse(text)]))


def test_two_parts_of_one_method_are_refused_and_not_one_of_them_lost():
    parts = parse_parts(["cign:tasks=4", "finetune:memory=8"])
    assert [f"{name}:{part}" for name, part in parts.items()] == [
        "cign:tasks=4",
        "finetune:memory=8",
    ]
    with input_error("bad-value", "--only names cign twice"):
        parse_parts(["cign:tasks=4", "cign:memory=8"])


def test_a_part_is_written_as_it_is_read():
    text = "tasks=4,12:memory=8,1MB:orders=1:seeds=2"
    assert str(Part.parse(f"cign:{text}")[1]) == text


def test_names_of_runs_do_not_depend_on_the_rest_of_the_grid():
    few = {run.name for run in plan_of("finetune").runs}
    many = {run.name for run in plan_of("joint", "finetune", tasks=(4, 2), num_seeds=3).runs}
    assert few < many


def test_a_method_that_keeps_no_clips_is_run_once_and_says_so():
    plan = plan_of("joint", "finetune", memories=("8", "2/class"))
    (joint,) = (cell for cell in plan.cells if cell.method == "joint")
    assert joint.memory == "0"
    assert joint.notes == ("trains on all clips: one run, also for memory 8, 2/class",)
    assert [run.memory for run in plan.runs if run.entry.name == "joint"] == ["0"]
    assert sorted(run.memory for run in plan.runs if run.entry.name == "finetune") == [
        "2/class",
        "8",
    ]


def test_a_closed_form_is_run_in_one_order_with_one_seed():
    plan = plan_of("analytic", "finetune", tasks=(2, 4), num_orders=(3, 1), num_seeds=2)
    cells = cells_of(plan)
    assert len(cells["finetune", 2, "0", 0].runs) == 6
    assert len(cells["finetune", 4, "0", 0].runs) == 2
    for tasks, spared in ((2, "3 orders and 2 seeds"), (4, "2 seeds")):
        cell = cells["analytic", tasks, "0", 0]
        assert cell.runs == (f"analytic-w-t{tasks}-m0-o0-s0",)
        assert f"one run for {spared}, which do not change" in cell.notes[-1]


def test_memories_that_hold_every_clip_are_one_run():
    plan = plan_of("finetune", memories=("8", "24", "100", "6/class", "1MB", "1600B"))
    cells = cells_of(plan)
    all_of_them = {
        cells["finetune", 2, memory, 0].runs for memory in ("24", "100", "6/class", "1MB")
    }
    assert all_of_them == {("finetune-w-t2-m24-o0-s0",)}
    for memory in ("24", "100", "6/class", "1MB"):
        assert cells["finetune", 2, memory, 0].notes == ("holds all 24 training clips",)
    # 1600 bytes are eight clips, as many as the memory of 8.
    assert 8 * CLIP_BYTES == 1600
    assert cells["finetune", 2, "1600B", 0].runs == cells["finetune", 2, "8", 0].runs
    assert cells["finetune", 2, "8", 0].notes == ()
    assert len(plan.runs) == 2


def test_recipes_with_the_same_options_share_their_runs():
    twice = [
        Entry(name="one", method="finetune", options={"width": 3}),
        Entry(name="other", method="finetune", options={"width": 3}),
        Entry(name="third", method="finetune", options={"width": 4}),
    ]
    plan = make_plan(config(methods=("one", "other", "third")), twice, [world()])
    assert [cell.runs for cell in plan.cells] == [
        ("one-w-t2-m0-o0-s0",),
        ("one-w-t2-m0-o0-s0",),
        ("third-w-t2-m0-o0-s0",),
    ]


def test_options_of_runs_with_exemplars_may_differ(tmp_path):
    (tmp_path / "two.yaml").write_text(
        "method: finetune\noptions: {training: {learning_rate: 0.5, batch_size: 3}}\n"
        "with_memory: {training: {learning_rate: 0.25}}\n"
    )
    (entry,) = read_entries(config(methods=("two",), recipes=tmp_path))
    rates = {}
    for run in make_plan(config(methods=("two",), memories=("0", "8")), [entry], [world()]).runs:
        training = run.entry.options_for(run.memory)["training"]
        rates[run.memory] = training["learning_rate"], training["batch_size"]
    assert rates == {"0": (0.5, 3), "8": (0.25, 3)}
    method, *both = plain_entry(entry)
    assert (method, len(both)) == ("finetune", 2)
    older = [method, *({k: v for k, v in one.items() if k != "fusion"} for one in both)]
    assert with_defaults(older) == plain_entry(entry)
    (same,) = read_entries(config(methods=("icarl",)))
    assert same.with_memory is None
    assert same.options_for("8") is same.options


def test_of_equal_runs_the_one_that_is_done_is_kept():
    twice = [Entry(name=name, method="finetune", options={}) for name in ("one", "other")]
    how_far = {"other-w-t2-m0-o0-s0": 2, "one-w-t2-m0-o0-s0": 1}
    plan = make_plan(
        config(methods=("one", "other")),
        twice,
        [world()],
        how_far=lambda name: how_far.get(name, 0),
    )
    assert [cell.runs for cell in plan.cells] == [("other-w-t2-m0-o0-s0",)] * 2
    assert [run.name for run in plan.runs] == ["other-w-t2-m0-o0-s0"]


def test_what_needs_a_memory_is_skipped_at_0_and_listed():
    plan = plan_of("icarl", "finetune", memories=("0", "8"))
    assert [(one.method, one.memory) for one in plan.skipped] == [("icarl", "0")]
    assert "needs exemplars" in plan.skipped[0].reason
    assert ("icarl", 2, "8", 0) in cells_of(plan)
    assert ("icarl", 2, "0", 0) not in cells_of(plan)
    with input_error("conflicting-options", "needs exemplars"):
        plan_of("icarl", memories=("0",))


def test_what_does_not_run_in_the_regime_is_skipped_and_listed():
    plan = plan_of("l2p", "finetune", settings={"regime": "end-to-end"}, worlds=[spec_world()])
    assert [(one.method, one.reason) for one in plan.skipped] == [
        ("l2p", "does not run in regime end-to-end")
    ]
    assert {cell.method for cell in plan.cells} == {"finetune"}


def test_a_closed_form_end_to_end_runs_every_order_and_says_that_it_adapts_once():
    plan = plan_of(
        "analytic", settings={"regime": "end-to-end"}, num_orders=(2,), worlds=[spec_world()]
    )
    assert sorted(run.order for run in plan.runs) == [0, 1]
    assert "trained on the first task only" in "; ".join(plan.cells[0].notes)


def spec_world():
    one = world()
    from cign.data.media.decode import PRESETS

    one.store.media_spec = PRESETS["small"]
    return one


def test_prompt_methods_take_the_tokens_of_the_stem():
    worlds = [world(backbones=("small", "small-stem"))]
    plan = plan_of("l2p", "finetune", worlds=worlds)
    backbones = {run.entry.name: run.backbone for run in plan.runs}
    assert backbones == {"l2p": "small-stem", "finetune": "small"}
    plan = plan_of("l2p", "finetune", worlds=worlds, settings={"backbone": "small"})
    assert {run.entry.name: run.backbone for run in plan.runs} == backbones


@pytest.mark.parametrize("memory", ["3", "0/class", "500B"])
def test_a_memory_too_small_for_a_clip_of_each_class_is_refused(memory):
    if memory == "0/class":  # that is none at all
        assert [cell.memory for cell in plan_of("finetune", memories=(memory,)).cells] == ["0"]
        return
    with input_error("bad-value", "4 classes"):
        plan_of("finetune", memories=("8", memory))
    plan_of("joint", memories=(memory,))  # it keeps none


def test_more_tasks_than_classes_are_refused():
    with input_error("bad-value", "5", "4"):
        plan_of("finetune", tasks=(2, 5))


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"methods": ()}, "at least one of --methods"),
        ({"tasks": (2, 2)}, "--tasks names 2 twice"),
        ({"memories": ("lots",)}, "20/class"),
        ({"settings": {"regime": "warm"}}, "use one of frozen, end-to-end"),
        ({"num_orders": (1, 2, 3)}, "3 numbers for 1 numbers of tasks"),
        ({"num_seeds": 0}, "use 1 or more"),
        ({"against": "joint"}, "use one of finetune"),
        ({"test_stores": ("a", "b")}, "2 --test-store do not match 1 stores"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(wrong, text):
    with pytest.raises(InputError, match=text):
        config(**wrong)


@pytest.mark.parametrize("memory", ["0", "8", "2/class", "64MB"])
def test_a_runs_name_is_found_by_its_pattern(memory):
    plan = plan_of(
        "finetune",
        worlds=[world("a"), world("a-b")],
        tasks=(4,),
        memories=(memory,),
        num_orders=(2,),
    )
    pattern = run_name("finetune", "a", 4, memory, "*", "*")
    found = [run.order for run in plan.runs if fnmatch(run.name, pattern)]
    assert found == [0, 1]
    assert all("/" not in run.name for run in plan.runs)


def test_on_a_drawn_stream_every_method_runs_every_order_and_seed():
    grid = {"num_orders": (2,), "num_seeds": 3, "tasks": (2,)}
    assert len(plan_of("analytic", **grid).runs) == 1
    settings = {"stream": "fewshot", "shots": 2, "base_classes": 3}
    plan = plan_of("analytic", settings=settings, **grid)
    assert len(plan.runs) == 6
    assert all(list(map(len, run.groups)) == [3, 1] for run in plan.runs)


def test_a_memory_that_holds_the_clips_of_a_drawn_stream_holds_all():
    settings = {"stream": "fewshot", "shots": 2}
    plan = plan_of("finetune", memories=("2/class", "6/class", "24"), settings=settings)
    notes = {cell.memory: cell.notes for cell in plan.cells}
    assert notes["6/class"] == notes["24"] == ("holds all 16 training clips",)
    assert notes["2/class"] == ()
    with input_error("conflicting-options", "--stream fewshot"):
        config(settings={"shots": 2})
