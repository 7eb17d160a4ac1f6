"""Diagrams lie where their numbers say, and are well-formed."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from cign.metrics.calibration import reliability
from cign.report import diagrams
from cign.report.charts import Mark, scatter
from cign.report.confusion import confusion_diagram


def titles(svg):
    return [t.text for t in ET.fromstring(str(svg)).iter("title")]


def test_reliability_dots_lie_at_confidence_and_accuracy():
    bins = reliability(np.array([0.1, 0.9, 0.9, 0.9]), np.array([0, 1, 1, 0]))
    svg = str(diagrams.reliability_diagram(bins, "a & b"))
    dots = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+"><title>([^<]*)', svg)
    left, side, top = diagrams._LEFT, diagrams._SIDE, diagrams._TOP
    (x0, y0, t0), (x1, y1, t1) = dots
    assert float(x0) == pytest.approx(left + 0.1 * side, abs=0.1)
    assert float(y0) == pytest.approx(top + side, abs=0.1)
    assert float(x1) == pytest.approx(left + 0.9 * side, abs=0.1)
    assert float(y1) == pytest.approx(top + side / 3, abs=0.1)
    assert t0 == "confidence 10 %, right 0 %, 1 of 4"
    assert t1 == "confidence 90 %, right 67 %, 3 of 4"
    ET.fromstring(svg)
    ET.fromstring(str(diagrams.reliability_diagram(reliability(np.array([]), np.array([])), "")))


def test_confusion_cells_are_where_clips_are():
    table = np.array([[4, 0, 0], [1, 3, 0], [0, 0, 0]])
    svg = str(confusion_diagram(table, (2, 1), ("a", "b<", "c"), "t"))
    cells = [
        (p.get("class"), p.get("opacity"), p.get("d"))
        for p in ET.fromstring(svg).iter("path")
        if (p.get("class") or "").startswith("cell")
    ]
    assert cells == [
        ("cell", "0.79", "M1 1h1v1h-1z"),
        ("cell", "1.00", "M0 0h1v1h-1z"),
        ("cell wrong", "0.36", "M0 1h1v1h-1z"),
    ]


def test_recall_bars_are_as_high_as_their_numbers():
    svg = diagrams.recall_bars(np.array([100.0, np.nan, 25.0]), ("a", "b", "<c>"), (2, 1), "t")
    assert titles(svg) == ["a: 100.0 %", "<c>: 25.0 %"]
    heights = [
        float(a) - float(b) for a, b in re.findall(r'bar s\d" d="M[\d.]+ ([\d.]+)V([\d.]+)', svg)
    ]
    assert heights == [100.0, 25.0]


def test_forgetting_goes_below_zero_where_a_task_got_better():
    drops = {"audio": np.array([20.0, -7.0]), "visual": np.array([0.0, np.nan])}
    names = {"audio": "Audio", "visual": "Visual"}
    svg = diagrams.forgetting_bars(drops, names, "t", "points")
    assert titles(svg) == [
        "task 1, Audio: 20.0 points",
        "task 1, Visual: 0.0 points",
        "task 2, Audio: \N{MINUS SIGN}7.0 points",
    ]
    bars = re.findall(r'bar s\d" d="M[\d.]+ ([\d.]+)V([\d.]+)', svg)
    rise = [float(a) - float(b) for a, b in bars]
    assert rise[0] / 20 == pytest.approx(rise[2] / -7, rel=0.02)
    assert rise[1] == 0


def places(svg):
    return {
        title: (float(x), float(y))
        for x, y, title in re.findall(r'translate\(([\d.]+) ([\d.]+)\)"><title>([^<]*)', svg)
    }


def test_scatter_is_logarithmic_and_has_a_place_for_zero():
    marks = [
        Mark(cost=cost, value=value, title=str(cost), look=i)
        for i, (cost, value) in enumerate([(0, 20.0), (10, 60.0), (100, 50.0), (1000, 80.0)])
    ]
    svg = str(scatter(marks, title="t", x_label="bytes"))
    found = places(svg)
    xs = [found[str(cost)][0] for cost in (0, 10, 100, 1000)]
    assert xs[2] - xs[1] == pytest.approx(xs[3] - xs[2], abs=0.2)
    assert xs[0] < xs[1] - 10
    assert found["10"][1] < found["100"][1] < found["0"][1]  # higher is better
    front = re.search(r'class="front" d="([^"]*)"', svg)[1]
    assert front.count("H") == 2  # 0, 10 and 1000: 100 is beaten
    assert f"{xs[2]:g}" not in front


def test_scatter_of_equal_and_of_free_runs():
    same = [Mark(cost=0, value=5.0, title="a", look="joint", counts=False)] * 2
    svg = str(scatter(same, title="t", x_label="x"))
    ET.fromstring(svg)
    assert "front" not in svg
    ET.fromstring(
        str(scatter([Mark(cost=1, value=100.0, title="a", look=0)], title="", x_label=""))
    )
