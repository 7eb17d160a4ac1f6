"""The page holds the numbers of the predictions and needs nothing from outside."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cign.errors import InputError
from cign.metrics.incremental import DEFINITIONS, summarise
from cign.report import write_report
from cign.report.text import count, duration, flatten, number, size
from cign.utils.files import folder_lock
from refusals import input_error

from .runs_on_paper import draw_predictions, write_run

VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


class Page(HTMLParser):
    """Collects texts and attributes, and fails on tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.texts, self.rows = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and "script" not in self.open and data.strip():
            self.texts.append(data.strip())
            if "tr" in self.open:
                self.rows[-1].append(data.strip())


def report(runs, tmp_path):
    out = tmp_path / "report.html"
    write_report(runs, out)
    return out.read_text(encoding="utf-8")


def test_headline_numbers_are_those_of_the_predictions(three_runs, tmp_path):
    page = Page(report(three_runs, tmp_path))
    expected = summarise(draw_predictions(skill=3.0, decay=0.1, seed=1))
    (row,) = (row for row in page.rows if "".join(row[:2]) == "cign_analytic" and "none" in row)
    shown = [
        number(expected[modality][name])
        for modality in ("audio", "visual", "audio_visual")
        for name in ("last", "average", "forgetting")
    ]
    assert row[-9:] == shown
    assert len(set(shown)) > 5


def test_metrics_of_other_streams_have_no_heading(three_runs, tmp_path):
    text = report(three_runs, tmp_path)
    assert "Few-shot classes" not in text
    assert "Accuracy at any time" not in text
    # Every heading of a group of metrics is followed by a table or a remark.
    for heading in re.findall(r"<h4>[^<]*</h4>\s*<(\w+)", text):
        assert heading in ("table", "p", "div", "ul", "svg", "figure")


def test_every_matrix_is_there_in_full(three_runs, tmp_path):
    page = Page(report(three_runs[:1], tmp_path))
    summary = summarise(draw_predictions(skill=2.0, decay=1.5, seed=0))
    for modality in ("audio", "visual", "audio_visual"):
        for k, values in enumerate(summary[modality]["matrix"]):
            row = [f"task {k + 1}", *(number(v) for v in values if v is not None)]
            row.append(number(summary[modality]["seen"][k]))
            assert row in page.rows


def test_numbers_come_from_predictions_not_from_what_metrics_claims(tmp_path):
    write_run(tmp_path / "run", "cign", modalities={"audio": {"last": 12345.6}})
    assert "12345.6" not in report([tmp_path / "run"], tmp_path)


def test_nothing_is_loaded_from_outside(three_runs, tmp_path):
    text = report(three_runs, tmp_path)
    for tag, name, value in Page(text).attributes:
        if name in ("src", "href", "xlink:href", "action", "data"):
            assert value.startswith("#") or (tag, value) == ("link", "data:,")
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttp", text)


def test_formulas_limit_seeds_versions_and_machine_are_printed(three_runs, tmp_path):
    texts = " ".join(Page(report(three_runs, tmp_path)).texts)
    for name in ("last", "average", "task_mean", "forgetting", "forgetting_av_cil", "bwt"):
        assert DEFINITIONS[name] in texts
    for fact in ("98.0 %", "5f3a9c0e" * 8, "2.13.0+cpu", "seeds · order", "learning_rate"):
        assert fact in texts
    assert "intransigence" in texts  # joint is among the runs
    alone = " ".join(Page(report(three_runs[:1], tmp_path)).texts)
    assert "intransigence" not in alone


def test_same_runs_same_bytes(three_runs, tmp_path):
    assert report(three_runs, tmp_path) == report(three_runs, tmp_path)


def test_a_folder_of_runs_stands_for_its_runs(three_runs, tmp_path):
    whole = report([three_runs[0].parent], tmp_path)
    assert whole == report(sorted(three_runs), tmp_path)


def test_class_names_cannot_break_out_of_the_page(tmp_path):
    names = ("<script>alert(1)</script>", "a & b", '"quoted"')
    predictions = draw_predictions((2, 1), class_names=names)
    write_run(tmp_path / "run", "<b>method</b>", predictions=predictions)
    text = report([tmp_path / "run"], tmp_path)
    assert "<script>alert" not in text
    assert "<b>method" not in text
    assert {"a & b", '"quoted"', names[0]} <= set(Page(text).texts)


@pytest.mark.parametrize(("held", "word"), [(False, "interrupted"), (True, "in progress,")])
def test_unfinished_runs_say_so(tmp_path, held, word):
    folder = tmp_path / "run"
    write_run(folder, "cign", status="running", predictions=draw_predictions(num_done=2))
    if held:
        with folder_lock(folder, "run"):
            text = report([folder], tmp_path)
    else:
        text = report([folder], tmp_path)
    assert f"{word} after 2 of 4 tasks" in text


def test_run_before_its_first_task_is_shown(tmp_path):
    write_run(tmp_path / "run", status="running", predictions=draw_predictions(num_done=0))
    text = report([tmp_path / "run"], tmp_path)
    assert "No task has been learned yet" in text
    Page(text)


@pytest.mark.parametrize(
    "predictions",
    [
        draw_predictions((1,)),
        draw_predictions((5,) * 20, clips_per_class=2),
        draw_predictions((2, 3), duets=True),
        draw_predictions((2, 2), clips_per_class=0),
    ],
    ids=["one class", "twenty tasks", "several labels", "no test clips"],
)
def test_unusual_runs_make_a_sound_page(tmp_path, predictions):
    write_run(tmp_path / "run", predictions=predictions, limit=None, costs={}, seeds={})
    text = report([tmp_path / "run"], tmp_path)
    Page(text)
    assert "nan" not in re.sub(r"<script>.*</script>", "", text, flags=re.S).lower()
    has_duets = any(len(labels) > 1 for labels in predictions.labels)
    assert ("mean average precision" in text.lower().split("<script>")[0]) == has_duets


def test_finetune_with_a_memory_is_no_reference(tmp_path):
    write_run(tmp_path / "plain", "finetune", memory=0)
    write_run(tmp_path / "replay", "finetune", memory=120)
    page = Page(report([tmp_path / "plain", tmp_path / "replay"], tmp_path))
    rows = [row for row in page.rows if row[0].startswith("finetune (") and len(row) > 10]
    (plain, replay) = rows
    assert "lower reference: no protection against forgetting" in plain
    assert "lower reference: no protection against forgetting" not in replay


def test_runs_can_be_named(three_runs, tmp_path):
    write_report(three_runs, tmp_path / "r.html", names=["one", "two", "one"])
    texts = Page((tmp_path / "r.html").read_text()).texts
    assert {"one (finetune)", "two", "one (joint)"} <= set(texts)


def test_two_runs_of_one_method_are_told_apart(tmp_path):
    for name in ("first", "second"):
        write_run(tmp_path / name, "cign", config={"memory": name})
    texts = Page(report([tmp_path / "first", tmp_path / "second"], tmp_path)).texts
    assert "cign (first)" in texts
    assert "cign (second)" in texts


def test_different_lists_of_clips_are_refused_by_name(tmp_path):
    write_run(tmp_path / "a", list_hash="aaaa1111")
    write_run(tmp_path / "b", list_hash="bbbb2222")
    with input_error("store-mismatch", "aaaa1111 in", "a; bbbb2222 in"):
        report([tmp_path / "a", tmp_path / "b"], tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_unusable_runs_are_one_sentence(tmp_path, three_runs):
    with input_error("file-missing", "nowhere"):
        report([tmp_path / "nowhere"], tmp_path)
    with input_error("file-missing", "metrics.json"):
        report([tmp_path], tmp_path)
    with input_error("missing-option"):
        report([], tmp_path)
    run = Path(shutil.copytree(three_runs[0], tmp_path / "copy"))
    (run / "predictions.parquet").unlink()
    with input_error("file-missing", "predictions.parquet"):
        report([run], tmp_path)
    draw_predictions((6, 6)).save(run / "predictions.parquet")
    with pytest.raises(InputError, match="different classes or tasks"):
        report([run], tmp_path)
    draw_predictions(num_done=3).save(run / "predictions.parquet")
    with input_error("damaged", "3", "4"):
        report([run], tmp_path)
    (run / "metrics.json").write_text('{"method": "cign"}')
    with input_error("wrong-format", "lacks status, classes, tasks, store"):
        report([run], tmp_path)
    (run / "metrics.json").write_text("{")
    with input_error("file-unreadable", "copy/metrics.json"):
        report([run], tmp_path)


def test_values_are_written_for_readers():
    assert [number(v) for v in (81.25, -3.14159, -0.04, 0, None, np.nan)] == [
        "81.2",
        "\N{MINUS SIGN}3.1",
        "0.0",
        "0.0",
        "\N{EN DASH}",
        "\N{EN DASH}",
    ]
    assert count(1234567) == "1\N{NARROW NO-BREAK SPACE}234\N{NARROW NO-BREAK SPACE}567"
    assert [size(v) for v in (0, 7_340_032)] == ["0 B", "7.3 MB"]
    assert [duration(v) for v in (4.24, 42, 125.25, 7620)] == [
        "4.2 s",
        "42 s",
        "2 min 05 s",
        "2 h 07 min",
    ]
    assert flatten({"a": {"b": 1e-4, "c": [1, 2]}, "d": None}) == {
        "a.b": "0.0001",
        "a.c": "1, 2",
        "d": "\N{EN DASH}",
    }
