"""Comparison tables: folds without test clips, resumption, kept runs, arithmetic."""

import csv
import dataclasses
import importlib
import shutil

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from cign.data.store import Store
from cign.methods import default_recipe
from cign.metrics.incremental import summarise
from cign.metrics.predictions import Predictions
from cign.vocabulary import MODALITIES
from comparison_scripts import module, scripts  # noqa: F401
from refusals import input_error


@pytest.fixture(scope="module")
def work(tiny, tmp_path_factory, scripts):  # noqa: F811
    """A work folder with one store, of a set whose test clips are missing on the disk."""
    work = tmp_path_factory.mktemp("work")
    built = shutil.copytree(tiny[0], work / "real" / "real24")
    for row in rows_of(built):
        if row["split"] == "test":
            (built / row["path"]).unlink()
    folds().prepare(work, work / "real", "random")
    return work


def folds(dataset="real24"):
    return module("_data").data_of(dataset)


def rows_of(built):
    with (built / "clips.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def store_of(work):
    return Store.open(folds().folder(work, 0, "random"))


def job_of(part=0, *, method="ncm_mean", order=0, shots=None, backbone="random"):
    jobs = module("_jobs")
    table = jobs.Table(backbone=backbone, dataset="real24", shots=shots)
    return jobs.Job(table=table, row=jobs.Row(method=method), order=order, part=part)


def comparison():
    return importlib.import_module("comparisons").REAL_FOLDS


# ------------------------------------------------------------------ folds


def test_no_test_clip_gets_into_a_store_or_a_fold(work):
    store, view = store_of(work), folds().view
    known = {row["path"]: row["split"] for row in rows_of(work / "real" / "real24")}
    given = {path for path, split in known.items() if split in ("train", "val")}
    assert "test" in known.values()
    assert {clip.id for clip in store.table.clips} == given
    tested = []
    for number in range(5):
        clips = view(store, number).table.clips
        parts = {
            split: {c.source for c in clips if c.split == split} for split in ("train", "test")
        }
        assert {clip.split for clip in clips} == {"train", "test"}
        assert not parts["train"] & parts["test"]
        assert {clip.id for clip in clips} == given
        tested += [clip.id for clip in clips if clip.split == "test"]
    assert sorted(tested) == sorted(given)


def test_a_store_with_test_clips_is_refused(tiny):
    with input_error("bad-value", "train", "val"):
        folds().view(Store.open(tiny[1]), 0)


def test_a_fold_reads_the_tokens_of_its_own_clips(work):
    store = store_of(work)
    number_of = {clip.id: i for i, clip in enumerate(store.table.clips)}
    seen = folds().view(store, 1, 2)
    assert len(seen) < len(store)
    for split in ("train", "test"):
        for index in seen.indices(split):
            there = number_of[seen.table.clips[index].id]
            for kind in ("audio", "visual"):
                own, other = getattr(seen.tokens(), kind), getattr(store.tokens(), kind)
                assert np.array_equal(own([index]), other([there]))


def test_few_shots_are_training_clips_of_the_fold_and_nested(work):
    store, view = store_of(work), folds().view
    parts = []
    for shots in (1, 2, None):
        clips = view(store, 2, shots).table.clips
        counts = [
            sum(c.split == "train" and name in c.labels for c in clips)
            for name in store.class_names
        ]
        assert shots is None or counts == [shots] * 4
        parts.append(
            {split: {c.id for c in clips if c.split == split} for split in ("train", "test")}
        )
    assert parts[0]["train"] < parts[1]["train"] < parts[2]["train"]
    assert parts[0]["test"] == parts[1]["test"] == parts[2]["test"]


def test_a_set_that_is_not_built_is_named(tmp_path):
    with input_error("file-missing", "make real-sets", "real24_duets"):
        folds("real24_duets").prepare(tmp_path, tmp_path / "none", "small")
    with input_error("file-missing", "make real-sets", "real24_duets"):
        folds("real24_duets-test").prepare(tmp_path, tmp_path / "none", "small")
    with input_error("unknown-name", "data", "real2"):
        folds("real2")


def test_test_clips_are_tested_by_all_others(tiny):
    store = Store.open(tiny[1])
    data = folds("real24-test")
    assert data.num_parts == 1
    view = data.view(store, 0)
    given = {clip.id: clip.split for clip in store.table.clips}
    assert {clip.id: clip.split for clip in view.table.clips} == {
        name: "test" if split == "test" else "train" for name, split in given.items()
    }


def test_synthetic_datasets_are_those_that_nothing_was_tuned_on():
    data = module("_data")
    assert data.WORLDS == (7, 8, 9, 10, 11)
    plain, tail = data.data_of("worlds"), data.data_of("worlds-longtail")
    assert (plain.variant, tail.variant, plain.num_parts) == ("plain", "longtail", 5)
    assert data.data_of("worlds-duet").is_multi_label
    assert not plain.is_multi_label
    folders = {
        str(one.folder(data.Path("w"), part, backbone))
        for one in (plain, tail)
        for part in range(5)
        for backbone in ("lite0+sfx", "small", "small-stem")
    }
    assert "w/stores/world7" in folders
    assert "w/stores/world11-longtail-small" in folders
    assert len(folders) == 20  # of two pairs: those of the stem are in the store of the pair


# ------------------------------------------------------------------- jobs


def test_a_partly_finished_table_has_all_methods_first():
    jobs = module("_jobs")
    every = comparison().jobs()
    full = comparison().sections[0].rows
    names = [job.name for job in every]
    assert len(set(names)) == len(names)
    assert [jobs.Job.of(job.plain()) for job in every] == every
    num_first = sum(job.order == 0 for job in every)
    assert all(job.order == 0 for job in every[:num_first])
    for backbone in ("lite0+sfx", "small"):
        rows = {
            job.row
            for job in every[:num_first]
            if job.table.backbone == backbone and not job.table.shots
        }
        assert {row for row in rows if not row.label} == set(full) - {
            row for row in full if row.label
        }
    sections = [comparison().section_of(job.table) for job in every]
    for part in (sections[:num_first], sections[num_first:]):
        order = [comparison().sections.index(section) for section in part]
        assert order == sorted(order)


def test_each_set_has_the_methods_that_can_learn_it():
    every, full = comparison().jobs(), comparison().sections[0].rows
    of_table = {
        table: {job.row.method for job in every if job.table == table}
        for table in comparison().tables
    }
    for table, methods in of_table.items():
        short = table.shots is not None or table.backbone == "random"
        assert ("bic" in methods) == (not short and table.dataset != "real24_duets")
        assert ("cign" in methods) == ("bic" in methods)
        assert {"analytic", "cign_analytic", "finetune", "joint"} <= methods
    orders = {row: {job.order for job in every if job.row == row} for row in full}
    once = {row.method for row, found in orders.items() if found == {0}}
    assert once == {"cign", "cign_tuned", "joint", *importlib.import_module("all_clips").METHODS}
    assert all(found == {0, 1, 2} for row, found in orders.items() if row.method not in once)


def test_transformers_have_width_192_and_others_that_of_their_recipe():
    jobs, full, limits = module("_jobs"), comparison().sections[0].rows, comparison().limits
    widths = {row.method: jobs.options_of(row, limits)[1].get("width") for row in full}
    transformers = ("cign", "cign_tuned", "finetune", "joint", "icarl", "bic")
    assert {widths[name] for name in transformers} == {192}
    assert widths["cign_replay"] == default_recipe("cign_replay").options["width"] != 192
    steps = {row.method: jobs.options_of(row, limits)[1].get("training", {}) for row in full}
    assert {name: one["min_steps"] for name, one in steps.items() if one.get("min_steps")} == {
        "cign": 250
    }


def test_a_variant_differs_by_its_settings_alone():
    jobs, all_of_them = module("_jobs"), importlib.import_module("comparisons").COMPARISONS
    for one in all_of_them.values():
        every = one.jobs()
        assert len({job.name for job in every}) == len(every)
        assert [jobs.Job.of(job.plain()) for job in every] == every
        for row in {job.row for job in every if job.row.label}:
            reference, options = jobs.options_of(row, one.limits)
            plain = jobs.options_of(jobs.Row(method=row.method, memory=row.memory), one.limits)
            assert plain[0] == reference
            named = {setting.partition("=")[0].partition(".")[0] for setting in row.settings}
            changed = {name for name in options if options[name] != plain[1][name]}
            assert changed <= named
            assert changed  # otherwise it is the method itself


def test_a_method_of_ones_own_gets_a_row_in_every_table():
    main = module("")
    more = main.with_rows(comparison(), ["er@5/class", "cign.methods.masked:Masked"])
    rows = {(row.method, row.memory) for section in more.sections for row in section.rows}
    assert {("er", "5/class"), ("cign.methods.masked:Masked", "0")} <= rows
    new = [job for job in more.jobs() if job.row.method == "cign.methods.masked:Masked"]
    assert {job.table for job in new} == set(more.tables)
    assert all(":" not in job.name and "/" not in job.name for job in new)
    assert {job.part for job in main.chosen(new, "", "1,3")} == {1, 3}
    some = main.chosen(new, data="real24", backbones="small,random")
    assert {(job.table.dataset, job.table.backbone) for job in some} == {
        ("real24", "small"),
        ("real24", "random"),
    }
    with input_error("unknown-name", "--backbones"):
        main.chosen(new, backbones="smal")
    with input_error("name-taken", "--row", "analytic"):
        main.with_rows(comparison(), ["analytic"])
    with input_error("bad-value", "memory", "many"):
        main.with_rows(comparison(), ["er@many"])
    with input_error("unknown-name", "method"):
        main.with_rows(comparison(), ["nothing"])


# ------------------------------------------------------------- resumption


def test_runs_are_resumed_and_repeated_only_if_options_change(work, tmp_path):
    main, runs = module(""), module("_runs")
    here = tmp_path / "work"
    shutil.copytree(work / "stores", here / "stores")
    jobs = [job_of(fold) for fold in range(2)]
    late = main.make_runs(jobs, here, {}, minutes=-1, num_workers=1)
    assert late == {}
    assert not any(runs.run_file(here, job).exists() for job in jobs)
    lost = [*jobs, job_of(0, backbone="lite0+sfx")]
    failed = main.make_runs(lost, here, {}, num_workers=1)
    assert set(failed) == {lost[-1].name}  # it has no store; the others are made
    assert all(runs.is_current(runs.run_file(here, job), job) for job in jobs)
    path = runs.run_file(here, jobs[0])
    first = runs.Kept.load(path)
    again = runs.make_run(jobs[0], here)
    assert np.array_equal(first.answers, again.answers)
    times = ("seconds", "cpu_seconds", "code")
    assert {k: v for k, v in first.record.items() if k not in times} == {
        k: v for k, v in again.record.items() if k not in times
    }
    runs.Kept(record=first.record | {"method": ["ncm_mean", {"x": 1}]}, answers=first.answers).save(
        path
    )
    assert not runs.is_current(path, jobs[0])


def test_an_option_that_is_newer_than_a_run_has_its_default(work, tmp_path, monkeypatch):
    jobs, runs = module("_jobs"), module("_runs")
    job = job_of(0, method="finetune")
    kept = runs.make_run(job, work)
    path = tmp_path / "run.npz"
    reference, options = kept.record["method"]
    older = {name: value for name, value in options.items() if name != "fusion"}
    runs.Kept(record=kept.record | {"method": [reference, older]}, answers=kept.answers).save(path)
    assert runs.is_current(path, job)
    changed = {**options, "fusion": {"kind": "mean", "temperature": 4.0}}
    monkeypatch.setattr(runs, "options_of", lambda row, limits: [reference, changed])
    assert not runs.is_current(path, job)
    assert jobs.defaults_of("finetune")["fusion"] == options["fusion"]


def test_an_archive_gives_the_runs_back(work, tmp_path, monkeypatch):
    main, runs, jobs = module(""), module("_runs"), module("_jobs")
    monkeypatch.setattr(main, "RESULTS", tmp_path)
    job = job_of(3)
    section = jobs.Section(tables=(job.table,), rows=(job.row,))
    small = jobs.Comparison(name="small", title="", introduction="", sections=(section,))
    main.archive(tmp_path / "empty", small)
    assert not main.archive_of(small).exists()  # nothing is finished
    kept = runs.make_run(job, work)
    kept.save(runs.run_file(work, job))
    main.archive(work, small)
    main.restore(tmp_path, small)
    found = runs.Kept.load(runs.run_file(tmp_path, job))
    assert found.record == kept.record
    assert np.array_equal(found.answers, kept.answers)


@pytest.mark.parametrize("method", ["analytic", "finetune"])
def test_what_is_kept_of_a_run_has_its_last_accuracy(work, method, monkeypatch):
    runs = module("_runs")
    of_recipe = runs.options_of

    def narrow(row, limits):
        reference, options = of_recipe(row, limits)
        return reference, {**options, "width": 50} if method == "analytic" else options

    monkeypatch.setattr(runs, "options_of", narrow)
    for shots in (None, 2):
        kept = runs.make_run(job_of(1, method=method, order=2, shots=shots), work)
        last = summarise(runs.predictions_of(kept))
        for modality in MODALITIES:
            assert last[modality]["last"] == kept.record["modalities"][modality]["last"]
        assert kept.record["num_train"] == (8 if shots else 26)
        assert kept.record["modalities"]["audio"]["forgetting"] is not None


def test_a_stream_other_than_tasks(work, monkeypatch):
    jobs, runs = module("_jobs"), module("_runs")
    build, configs = runs.build_loop, []

    def build_loop(config, data):
        configs.append(config)
        return build(config, data)

    monkeypatch.setattr(runs, "build_loop", build_loop)
    names = set()
    for stream in ("tasks", "blurry", "fewshot"):
        job = job_of(1, method="ncm")
        table = dataclasses.replace(job.table, stream=stream, num_tasks=2)
        job = dataclasses.replace(job, table=table)
        runs.make_run(job, work)
        names.add(job.name)
    assert len(names) == 3
    assert [config.arrival.stream for config in configs] == ["tasks", "blurry", "fewshot"]
    prompts = jobs.Row(method="l2p")
    assert prompts.supports(jobs.Table(backbone="small", dataset="worlds"))
    assert not prompts.supports(jobs.Table(backbone="small", dataset="worlds", stream="blurry"))


def test_ranks_of_clips_with_several_labels_keep_the_average_precision():
    jobs, runs = module("_jobs"), module("_runs")
    rng = np.random.default_rng(0)
    names, order = ("a", "b", "c", "d"), ("c", "a", "d", "b")
    targets = rng.random((30, 4)) < 0.4
    targets[~targets.any(axis=1), 0] = True
    predictions = Predictions(
        clip_ids=[str(i) for i in range(30)],
        labels=[tuple(n for n, own in zip(names, row, strict=True) if own) for row in targets],
        class_names=order,
        task_sizes=(2, 2),
    )
    for width in (2, 4):
        scores = {m: rng.random((30, width)).round(1) for m in MODALITIES}  # with ties
        predictions.add_task(scores)
    table = jobs.Table(backbone="small", dataset="real24_duets")
    job = jobs.Job(table=table, row=jobs.Row(method="analytic"), order=0, part=0)
    record = {
        "clips": [predictions.clip_ids, [list(labels) for labels in predictions.labels]],
        "classes": list(names),
    }
    kept = runs.Kept(record=record, answers=runs.answers_of(predictions, names, job))
    found = summarise(runs.predictions_of(kept))
    for modality in MODALITIES:
        column = [order.index(name) for name in names]
        wanted = average_precision_score(targets, scores[modality][:, column], average="macro")
        assert found[modality]["last"] == pytest.approx(100 * wanted)
        assert found[modality]["last"] == summarise(predictions)[modality]["last"]


def test_the_estimate_adds_up():
    main, jobs = module(""), comparison().jobs()
    seconds = {main.kind_of(job): 10.0 for job in jobs}
    hours = len(jobs) / 360
    said = f"{len(jobs)} runs: {hours:.1f} hours of one core, {hours / 2:.1f} hours with 2 workers"
    assert main.estimate(jobs, seconds, 2).endswith(said)
    few = [job for job in jobs if job.table.shots and job.row.method == "joint"]
    del seconds[main.kind_of(few[0])]
    unknown = sum(main.kind_of(job) == main.kind_of(few[0]) for job in jobs)
    assert main.estimate(jobs, seconds, 2).endswith(f"without {unknown} runs of unknown time")
