"""What the page shows beyond accuracy: its numbers are the metrics', whatever a run lacks."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from cign.errors import InputError
from cign.metrics import breakdown, calibration, embeddings, imbalance, open_set
from cign.metrics.embedded import FILE, Embeddings
from cign.report import write_report
from cign.report.panels import MAX_MAPS, with_maps
from cign.report.runs import load_runs
from cign.report.text import DASH, value_of
from cign.utils.files import read_json, write_json

from .runs_on_paper import draw_embeddings, draw_predictions, write_run
from .test_page import Page, report


@pytest.fixture(scope="module")
def drawn():
    predictions = draw_predictions(skill=2.0, decay=0.5, seed=3)
    for scores in predictions.scores:  # probabilities, as methods give them
        for modality, values in scores.items():
            e = 2.0 ** (values - values.max(axis=1, keepdims=True))
            scores[modality] = e / e.sum(axis=1, keepdims=True)
    return predictions, draw_embeddings(predictions)


@pytest.fixture
def two_runs(tmp_path, drawn):
    predictions, vectors = drawn
    write_run(tmp_path / "a", "cign", predictions=predictions, embeddings=vectors)
    other = draw_embeddings(predictions, spread=2.0, seed=5)
    write_run(tmp_path / "b", "lwf", predictions=predictions, embeddings=other)
    return [tmp_path / "a", tmp_path / "b"]


def test_every_group_of_numbers_is_there_with_its_formulas(two_runs, drawn, tmp_path):
    page = Page(report(two_runs[:1], tmp_path))
    predictions, _ = drawn
    counts = read_json(two_runs[0] / "metrics.json", "metrics")["num_train_per_class"]
    stored = Embeddings.load(two_runs[0] / FILE)
    for label, name, places, found, formulas in [
        ("worst tenth", "worst_tenth", 1, imbalance.summarise(predictions, counts), imbalance),
        ("many", "many", 1, imbalance.summarise(predictions, counts), imbalance),
        ("ece", "ece", 1, calibration.summarise(predictions), calibration),
        ("brier", "brier", 3, calibration.summarise(predictions), calibration),
        ("silhouette", "silhouette", 3, embeddings.summarise(stored), embeddings),
        ("old as new", "old_as_new", 1, breakdown.summarise(predictions), breakdown),
    ]:
        shown = [value_of(found[r][name], places) for r in ("audio", "visual", "audio_visual")]
        assert [label, *shown, formulas.DEFINITIONS[name]] in page.rows
        assert DASH not in shown


def is_overview(row):
    """Whether a row of the page is one beyond accuracy; a row of results has a memory."""
    return row[0] in ("cign", "lwf") and len(row) == 12 and "none" not in row


def test_overview_compares_the_runs(two_runs, tmp_path):
    text = report(two_runs, tmp_path)
    page = Page(text)
    knn = [
        embeddings.summarise(Embeddings.load(run / FILE))["audio_visual"]["knn"] for run in two_runs
    ]
    assert knn[0] > knn[1] + 5
    ends = [r[-1] for r in page.rows if is_overview(r)]
    assert ends == [value_of(value, 1) for value in knn]
    assert text.count('class="map"') == 2
    assert "Audio-visual accuracy against cost" in text


def test_open_set_is_in_the_overview_and_after_each_task(two_runs, drawn, tmp_path):
    predictions, _ = drawn
    found = open_set.summarise(predictions)["audio_visual"]
    shown = [value_of(found[name], 1) for name in ("oscr", "auroc", "fpr95")]
    assert len(set(shown)) == 3
    page = Page(report(two_runs, tmp_path))
    assert [r[1:4] for r in page.rows if is_overview(r)] == [shown] * 2
    assert any(DASH not in text and open_set.RUN_DEFINITIONS["oscr"] in text for text in page.texts)

    alone = Page(report(two_runs[:1], tmp_path))
    for k in range(4):
        numbers = [
            value_of(open_set.open_set_after(predictions, k, modality)[name], 1)
            for modality in ("audio", "visual", "audio_visual")
            for name in ("oscr", "auroc", "fpr95")
        ]
        # 20 clips a class: those of the 3 (3 - k) classes still to come, and of one that never is.
        assert [f"task {k + 1}", str(20 * (3 * (3 - k) + 1)), *numbers] in alone.rows
    for name in ("oscr", "auroc", "fpr95"):
        assert any(open_set.DEFINITIONS[name] in text for text in alone.texts)


def test_where_every_class_is_taught_nothing_is_said_of_unknown_ones(tmp_path):
    drawn = draw_predictions((2,))
    known = [i for i, labels in enumerate(drawn.labels) if labels != ("never taught",)]
    write_run(
        tmp_path / "run",
        predictions=replace(
            drawn,
            clip_ids=[drawn.clip_ids[i] for i in known],
            labels=[drawn.labels[i] for i in known],
            scores=[{r: x[known] for r, x in scores.items()} for scores in drawn.scores],
        ),
    )
    text = report([tmp_path / "run"], tmp_path)
    assert "Detection of unknown classes" not in text
    assert ["oscr", DASH, DASH, DASH, open_set.DEFINITIONS["oscr"]] in Page(text).rows  # one task


def test_many_runs_have_their_formulas_once(tmp_path, drawn):
    predictions, _ = drawn
    for i in range(7):
        write_run(tmp_path / f"run{i}", "cign", predictions=predictions)
    text = report([tmp_path / f"run{i}" for i in range(7)], tmp_path)
    section = text[text.index('id="formulas"') :]
    assert section.count(imbalance.DEFINITIONS["worst_tenth"]) == 1
    assert '<td class="formula">' not in text


def test_runs_of_an_older_version_say_what_they_lack(tmp_path, drawn):
    write_run(tmp_path / "old", predictions=drawn[0])
    metrics = read_json(tmp_path / "old" / "metrics.json", "metrics")
    del metrics["num_train_per_class"]
    write_json(tmp_path / "old" / "metrics.json", metrics)
    text = report([tmp_path / "old"], tmp_path)
    assert "No embeddings: the run&#39;s model was not saved" in text
    (tmp_path / "old" / "model").mkdir()
    text = report([tmp_path / "old"], tmp_path)
    assert "No embeddings: the run was made by an older version" in text
    assert "No recall by class frequency" in text
    assert 'class="map"' not in text


def test_embeddings_of_an_unfinished_run_are_not_its_final_models(tmp_path, drawn):
    predictions = draw_predictions(num_done=2)
    write_run(tmp_path / "run", status="running", predictions=predictions, embeddings=drawn[1])
    assert load_runs([tmp_path / "run"])[0].embeddings is None
    assert "the run is not finished" in report([tmp_path / "run"], tmp_path)


def test_embeddings_of_another_run_are_refused(tmp_path, drawn):
    other = draw_predictions((6, 6), class_names=tuple(f"other {i}" for i in range(12)))
    write_run(tmp_path / "run", predictions=drawn[0], embeddings=draw_embeddings(other))
    with pytest.raises(InputError, match=r"embeddings of .*run have different clips or classes"):
        report([tmp_path / "run"], tmp_path)


def test_same_runs_same_bytes_with_maps(two_runs, tmp_path):
    assert report(two_runs, tmp_path) == report(two_runs, tmp_path)


def test_same_bytes_in_another_process_from_another_folder(two_runs, tmp_path):
    """Nothing hangs on the order of sets, the time or the place; the maps are drawn anew."""
    pages = []
    for seed in ("1", "2"):
        place = tmp_path / f"place{seed}"
        place.mkdir()
        copies = [shutil.copytree(run, place / run.name) for run in two_runs]
        command = [sys.executable, "-m", "cign", "report", *map(str, copies)]
        environment = dict(os.environ, PYTHONHASHSEED=seed, TZ=f"UTC-{seed}")
        out = place / "report.html"
        subprocess.run([*command, "--out", str(out)], check=True, env=environment)
        pages.append(out.read_bytes())
    assert pages[0] == pages[1]
    assert pages[0].count(b'class="map"') == 2


def test_scores_that_are_no_probabilities_have_no_diagram(tmp_path):
    write_run(tmp_path / "run")  # its scores are drawn from -inf to inf
    assert "Calibration is undefined" in report([tmp_path / "run"], tmp_path)


def test_one_run_of_each_kind_gets_its_map_first(tmp_path, drawn):
    runs = []
    for i in range(MAX_MAPS + 4):
        run = type("Run", (), {"embeddings": object() if i != 1 else None})
        runs.append(run)
    kinds = ["a"] * 18 + ["b"] * 2
    assert with_maps(runs, kinds) == [0, *range(2, 16), 18]
    assert with_maps(runs[:3], kinds[:3]) == [0, 2]


def test_fourteen_methods_by_nine_runs_stay_under_5_mb(tmp_path, monkeypatch):
    """Numbers of one run are drawn once: what is measured is the page, not the drawing."""
    from cign.report import page, panels

    predictions = draw_predictions((6, 6, 6, 6), clips_per_class=15)
    for scores in predictions.scores:
        for modality, values in scores.items():
            e = 2.0 ** (values - values.max(axis=1, keepdims=True))
            scores[modality] = e / e.sum(axis=1, keepdims=True)
    vectors = draw_embeddings(predictions)
    write_run(tmp_path / "run", "cign", predictions=predictions, embeddings=vectors)
    (run,) = load_runs([tmp_path / "run"])
    first = {}

    def once(name, function):
        def remembered(*arguments):
            if name not in first:
                first[name] = function(*arguments)
            return first[name]

        return remembered

    for name in ("measured", "run_diagrams", "classes_of", "mistakes_of"):
        monkeypatch.setattr(page, name, once(name, getattr(page, name)))
    layout = panels.lay_out([run.embeddings])[0]
    monkeypatch.setattr(panels, "lay_out", lambda runs: [layout] * len(runs))
    runs = [replace(run, name=f"method {i // 9}, run {i % 9}") for i in range(14 * 9)]
    text = page.render(runs)
    assert 1_000_000 < len(text.encode()) < 5_000_000
    assert text.count('class="map"') == MAX_MAPS
    assert len(re.findall(r'<section class="run"', text)) == 126


def test_unusual_runs_have_what_can_be_drawn(tmp_path):
    for i, predictions in enumerate(
        [draw_predictions((1,)), draw_predictions((2, 3), duets=True), draw_predictions((120, 5))]
    ):
        vectors = draw_embeddings(predictions)
        write_run(tmp_path / f"run{i}", predictions=predictions, embeddings=vectors)
        text = report([tmp_path / f"run{i}"], tmp_path)
        Page(text)
        assert ("Old and new classes, audio-visual<" in text) == (i == 2)


def test_report_page_is_written_whole(two_runs, tmp_path):
    write_report(two_runs, tmp_path / "x.html", names=["one", "two"])
    texts = Page((tmp_path / "x.html").read_text()).texts
    assert {"one", "two"} <= set(texts)
