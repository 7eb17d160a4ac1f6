"""A run with one task: recall with intervals, no forgetting, no curves of one point."""

import re

import numpy as np
import pytest
from scipy.stats import binomtest

from cign.metrics.incremental import DEFINITIONS
from cign.report.text import number

from .runs_on_paper import as_probabilities, draw_embeddings, draw_predictions, write_run
from .test_page import Page, report


@pytest.fixture(scope="module")
def drawn():
    return as_probabilities(draw_predictions((5,), skill=0.7, seed=4))


@pytest.fixture
def page(drawn, tmp_path):
    write_run(
        tmp_path / "run", "cign", predictions=drawn, embeddings=draw_embeddings(drawn), limit=None
    )
    return report([tmp_path / "run"], tmp_path)


def said(text):
    """The words of a page, without style and script."""
    return " ".join(Page(text).texts)


def test_recall_of_each_class_has_its_interval_and_its_confusion(page, drawn):
    rows = {row[0]: row for row in Page(page).rows if row and row[0].startswith("class 0")}
    assert len(rows) == 5
    given = drawn.scores[0]["audio_visual"].argmax(axis=1)
    names = np.array(drawn.class_names)
    for c, name in enumerate(names):
        mine = given[[name in labels for labels in drawn.labels]]
        right = int((mine == c).sum())
        ends = binomtest(right, 20).proportion_ci(method="wilson")
        interval = f"{number(100 * ends.low)} to {number(100 * ends.high)}"
        assert rows[name][1:4] == ["20", number(100 * right / 20), interval]
        wrong = np.bincount(mine[mine != c], minlength=5)
        assert rows[name][6:] == [names[wrong.argmax()], f"({wrong.max()} of 20)"]
        sentence = f"{name} was predicted as {names[wrong.argmax()]} in {wrong.max()} of 20 clips"
        assert sentence in said(page) or wrong.max() < 3


def test_accuracy_has_its_interval(page, drawn):
    given = drawn.scores[0]["visual"].argmax(axis=1)[:100]
    right = int((given == np.repeat(np.arange(5), 20)).sum())
    ends = binomtest(right, 100).proportion_ci(method="wilson")
    (row,) = (row for row in Page(page).rows if row[0] == "cign" and "none" in row)
    interval = f"{number(100 * ends.low)} to {number(100 * ends.high)}"
    assert row[-2:] == [number(100 * right / 100), interval]


def test_nothing_is_said_of_forgetting_and_no_curve_has_one_point(page):
    text = said(page)
    for word in (
        "orgetting",
        "Accuracy after each task",
        "BWT",
        "A_k",
        "Old and new",
        "old as new",
    ):
        assert word not in text
    assert DEFINITIONS["average"] not in text
    assert "silhouette old" not in text
    assert "Calibration" in text
    assert page.count('<svg class="chart ') == 4  # the confusion matrix, three of reliability


def test_several_runs_with_one_task_are_compared_likewise(tmp_path, drawn):
    for name in ("a", "b"):
        write_run(tmp_path / name, name, predictions=drawn)
    text = said(report([tmp_path / "a", tmp_path / "b"], tmp_path))
    assert "orgetting" not in text
    assert "Recall of each class" in text


def test_among_runs_with_more_tasks_the_columns_stay(tmp_path, drawn):
    write_run(tmp_path / "one", "joint", predictions=drawn)
    write_run(tmp_path / "more", "cign", predictions=draw_predictions((2, 3)))
    text = report([tmp_path / "one", tmp_path / "more"], tmp_path)
    assert "forgetting" in said(text)
    one = text[text.index('<h2 id="run-1">') : text.index('<h2 id="run-2">')]
    assert "Recall of each class" in one
    assert "BWT" not in one


def test_several_labels_have_precisions_without_intervals(tmp_path):
    write_run(tmp_path / "run", predictions=draw_predictions((5,), duets=True))
    text = said(report([tmp_path / "run"], tmp_path))
    assert "Average precision of each class" in text
    assert "95 % interval" not in text
    assert "was predicted as" not in text


def test_missing_test_clips_are_said_in_words(tmp_path):
    write_run(tmp_path / "none", predictions=draw_predictions((3,), clips_per_class=0))
    text = said(report([tmp_path / "none"], tmp_path))
    assert "No test clips: accuracy, recall and confusions are not measured." in text
    assert "Recall of each class" not in text
    drawn = draw_predictions((3,))
    kept = [i for i, labels in enumerate(drawn.labels) if labels != ("class 01",)]
    drawn = type(drawn)(
        clip_ids=[drawn.clip_ids[i] for i in kept],
        labels=[drawn.labels[i] for i in kept],
        class_names=drawn.class_names,
        task_sizes=drawn.task_sizes,
        scores=[{r: x[kept] for r, x in scores.items()} for scores in drawn.scores],
    )
    write_run(tmp_path / "some", predictions=drawn)
    page = Page(report([tmp_path / "some"], tmp_path))
    text = " ".join(page.texts)
    assert "No test clips of this class, whose recall is not measured: class 01." in text
    (row,) = (row for row in page.rows if row and row[0] == "class 01")
    assert row[1] == "none"


def test_every_link_of_the_outline_leads_to_a_heading(page, three_runs, tmp_path):
    for text in (page, report(three_runs, tmp_path)):
        outline = re.search(r'<nav class="outline".*?</nav>', text, re.S)[0]
        links = re.findall(r'href="#([^"]+)">([^<]+)<', outline)
        ids = re.findall(r' id="([^"]+)"', text)
        assert len(ids) == len(set(ids))
        assert {name for name, _ in links} <= set(ids)
        assert len(links) >= 6
        for name, words in links:
            heading = re.search(rf'<h[23] id="{name}">(.*?)</h', text, re.S)[1]
            assert words in re.sub("<[^>]+>", "", heading)
    assert "Misclassified clips" in outline or len(three_runs) > 1
