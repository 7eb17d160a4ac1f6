"""The page of `cign report` in a real browser: complete, silent, sortable."""

import pytest

from cign.report import write_report
from report.runs_on_paper import draw_predictions, write_run

pytestmark = pytest.mark.browser


def test_a_report_opens_from_the_disk_sorts_and_shows_its_figures(look, tmp_path):
    for seed, (method, skill) in enumerate({"finetune": 1.0, "joint": 3.0, "ewc": 2.0}.items()):
        write_run(tmp_path / method, method, predictions=draw_predictions(skill=skill, seed=seed))
    write_report([tmp_path / name for name in ("finetune", "joint", "ewc")], tmp_path / "r.html")
    page, seen = look((tmp_path / "r.html").as_uri())
    figures = page.locator("svg.chart")
    assert figures.count() >= 3
    boxes = [figures.nth(i).bounding_box() for i in range(3)]
    assert all(box and box["width"] > 100 and box["height"] > 50 for box in boxes)
    heading = page.locator("table.main th button").nth(2)
    column = int(heading.get_attribute("data-column"))

    def values():
        return page.evaluate(
            "c => [...document.querySelector('table.main').tBodies[0].rows]"
            ".map(row => Number(row.cells[c].dataset.value ?? row.cells[c].textContent))",
            column,
        )

    heading.click()
    falling = values()
    assert falling == sorted(falling, reverse=True)
    assert len(set(falling)) == 3
    heading.click()
    assert values() == falling[::-1]
    assert seen.errors == []
    assert [one for one in seen.addresses if not one.startswith(("file:", "data:"))] == []


def test_a_report_fits_a_phone(look, tmp_path):
    """Tables scroll inside themselves; the page does not."""
    for seed, method in enumerate(("finetune", "ewc")):
        write_run(tmp_path / method, method, predictions=draw_predictions(seed=seed))
    write_report([tmp_path / name for name in ("finetune", "ewc")], tmp_path / "r.html")
    page, seen = look((tmp_path / "r.html").as_uri(), width=390, height=844)
    for details in page.locator("details").all():
        details.evaluate("one => { one.open = true }")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for heading in ("Beyond accuracy", "Detection of unknown classes"):
        assert page.get_by_role("heading", name=heading).first.is_visible()
    assert seen.errors == []
