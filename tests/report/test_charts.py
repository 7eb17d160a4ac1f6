"""Points lie where their numbers say, gaps stay gaps, and the drawing is well-formed."""

import xml.etree.ElementTree as ET

import pytest

from cign.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Series, line_chart
from cign.report.svg import swatch


def places(svg):
    """Where the marks are, and what they say."""
    found = {}
    for group in ET.fromstring(svg).iter("g"):
        if "transform" in group.attrib:
            x, y = group.attrib["transform"][len("translate(") : -1].split()
            found[group.find("title").text] = (float(x), float(y))
    return found


def series(ys, look=0):
    return Series(
        points=tuple((float(x), y) for x, y in enumerate(ys)),
        titles=tuple(f"p{x}" for x in range(len(ys))),
        look=look,
    )


def test_points_lie_where_their_numbers_say():
    found = places(line_chart([series([0.0, 50.0, 100.0])], title="t", x_label="x"))
    bottom, top = HEIGHT - BOTTOM, TOP
    assert [y for _, y in found.values()] == [bottom, (bottom + top) / 2, top]
    xs = [x for x, _ in found.values()]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert xs[0] >= LEFT
    assert xs[2] <= WIDTH - RIGHT


def test_undefined_values_are_gaps():
    svg = line_chart([series([10.0, None, 30.0, 40.0])], title="t", x_label="x")
    assert list(places(svg)) == ["p0", "p2", "p3"]
    (line,) = (p for p in ET.fromstring(svg).iter("path") if p.get("class") == "line")
    assert line.get("d").count("M") == 2
    assert line.get("d").count("L") == 1


def test_single_point_and_no_point_are_drawn():
    assert len(places(line_chart([series([5.0])], title="t", x_label="x"))) == 1
    assert places(line_chart([series([])], title="t", x_label="x")) == {}
    assert places(line_chart([], title="t", x_label="x", limit=98.0)) == {}


def test_texts_are_escaped():
    odd = Series(points=((1.0, 2.0),), titles=("<&>",), look=0)
    assert list(places(line_chart([odd], title='"<&>"', x_label="<&>"))) == ["<&>"]


def test_looks_differ_over_many_series():
    looks = [swatch(look) for look in [*range(32), "finetune", "joint"]]
    assert len(set(looks)) == len(looks)


def test_many_steps_get_few_numbers_and_always_the_last():
    svg = line_chart([series([1.0] * 50)], title="t", x_label="x")
    ticks = [t.text for t in ET.fromstring(svg).iter("text") if t.get("text-anchor") == "middle"]
    assert "49" in ticks
    assert len(ticks) <= 13
