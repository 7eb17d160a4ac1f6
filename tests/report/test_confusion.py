"""The confusion matrix names its classes, up to forty, and writes its counts."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from cign.report.confusion import MAX_NAMED, confusion_diagram, shortened


def texts(svg, style):
    """Texts of a group with a style class, with their x and y."""
    (first, *_) = [g for g in ET.fromstring(str(svg)).iter("g") if g.get("class") == style]
    return [(t.text, float(t.get("x")), float(t.get("y"))) for t in first.iter("text")]


def test_names_stand_beside_their_rows_and_below_their_columns():
    svg = str(confusion_diagram(np.diag([3, 2, 1]), (3,), ("bell", "<b>", "horn"), "t"))
    names = [g for g in ET.fromstring(svg).iter("g") if g.get("class") == "names"]
    assert len(names) == 2
    assert "transform" not in names[0].attrib
    assert names[1].get("transform") == "translate(0 78)rotate(-90)"  # three cells of 26
    for group in names:
        shown = [(t.text, float(t.get("y"))) for t in group.iter("text")]
        assert [name for name, _ in shown] == ["bell", "<b>", "horn"]
        assert [y // 26 for _, y in shown] == [0, 1, 2]
    assert "true class" in svg
    assert "predicted class" in svg


def test_counts_are_written_into_their_cells_where_they_fit():
    table = np.array([[4, 0, 0], [1, 123456, 0], [0, 0, 0]])
    svg = confusion_diagram(table, (3,), "abc", "t", with_counts=True)
    assert [(text, x // 26, y // 26) for text, x, y in texts(svg, "counts")] == [
        ("4", 0, 0),
        ("1", 0, 1),
    ]
    assert "counts" not in str(confusion_diagram(table, (3,), "abc", "t"))


@pytest.mark.parametrize(("size", "named"), [(MAX_NAMED, True), (MAX_NAMED + 1, False)])
def test_up_to_forty_classes_are_named(size, named):
    names = [f"class number {i}" for i in range(size)]
    svg = str(confusion_diagram(np.eye(size, dtype=int), (size - 1, 1), names, "t"))
    ET.fromstring(svg)
    assert (f">class number {size - 1}<" in svg) == named
    assert ("task of the true class" in svg) == (not named)


def test_long_names_are_cut_and_kept_whole_in_their_titles():
    long = "playing steelpan in a hall"
    svg = str(confusion_diagram(np.eye(2, dtype=int), (2,), (long, "b"), "t"))
    assert f"<title>{long}</title>" in svg
    assert ">playing steelp…a hall<" in svg
    assert shortened("a" * 22) == "a" * 22
    assert shortened("a" * 15 + "b" * 8) == "a" * 14 + "…" + "b" * 7
    assert (
        shortened("演" * 8 + "奏" * 4) == "演" * 7 + "…" + "奏" * 3
    )  # each as wide as two letters
    (width,) = re.findall(r'style="width:(\d+)px', svg)
    assert 150 < int(width) < 400


def test_tasks_are_numbered_and_parted():
    svg = str(confusion_diagram(np.eye(4, dtype=int), (2, 2), "abcd", "t"))
    assert svg.count('class="part"') == 1
    assert re.findall(r">(task \d)<", svg) == ["task 1", "task 2"]
    assert 'class="part"' not in str(confusion_diagram(np.eye(4, dtype=int), (4,), "abcd", "t"))
