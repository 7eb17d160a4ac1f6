"""The page of `cign report` in a real browser: complete, silent, sortable, readable on a phone."""

import json

import pytest

from browser.layout import broken_words, overlaps, require_sound, sideways
from cign.report import write_report
from cign.report.bench import write_bench_report
from report.runs_on_paper import as_probabilities, draw_embeddings, draw_predictions, write_run
from report.test_bench_page import table

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


SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
# What people call classes: several words, words joined by underscores, one long word.
NAMES = (
    *("playing acoustic guitar", "people_eating_crisps_with_their_fingers", "wolf"),
    *("electric shaver, electric razor shaving", "Rhabarberbarbarabarbarbarenbartbarbier"),
    *("baby babbling", "chopping_wood", "アコースティックギターの演奏", "dog", "train horning"),
)


def unfold(page):
    for details in page.locator("details").all():
        details.evaluate("one => { one.open = true }")


def drawn(sizes, **how):
    predictions = as_probabilities(draw_predictions(sizes, class_names=NAMES, skill=1.0, **how))
    return {"predictions": predictions, "embeddings": draw_embeddings(predictions)}


def make_report(kind, folder):
    """Write a page of some kind; gives its place."""
    names = ("finetune", "cign_analytic", "lwf") if kind == "several runs" else ("cign_analytic",)
    sizes = (10,) if kind == "one task" else (3, 3, 4)
    for seed, name in enumerate(names):
        write_run(folder / name, name, **drawn(sizes, seed=seed))
    if kind == "forty classes":
        labels = tuple(f"{NAMES[i % 10]} number {i}" for i in range(40))
        predictions = as_probabilities(
            draw_predictions((10,) * 4, class_names=labels, skill=0.5, clips_per_class=4)
        )
        write_run(folder / "forty", "cign", predictions=predictions)
        names = ("forty",)
    write_report([folder / name for name in names], folder / "r.html")
    return folder / "r.html"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["one task", "one run", "several runs", "forty classes"])
def test_a_report_is_readable(look, tmp_path, kind, size):
    """Tables scroll inside themselves; the page does not, and no text covers another."""
    width, height = SIZES[size]
    page, seen = look(make_report(kind, tmp_path).as_uri(), width=width, height=height)
    require_sound(page)
    unfold(page)
    require_sound(page)
    for heading in ("Calibration", "Detection of unknown classes", "Misclassified clips"):
        assert page.get_by_role("heading", name=heading).first.is_visible()
    assert page.locator("svg.named .names text").count() >= 20
    assert seen.errors == []
    assert [one for one in seen.addresses if not one.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("size", SIZES)
def test_the_page_of_a_bench_is_readable(look, tmp_path, size):
    rows = table()["rows"]
    for row in rows:
        row["method"] = row["method"].replace("<b>", "a_method_with_a_long_name")
    (tmp_path / "table.json").write_text(json.dumps(table(rows=rows)))
    write_bench_report(tmp_path, tmp_path / "page.html")
    width, height = SIZES[size]
    page, seen = look((tmp_path / "page.html").as_uri(), width=width, height=height)
    require_sound(page)
    unfold(page)
    require_sound(page)
    assert seen.errors == []
    assert [one for one in seen.addresses if not one.startswith(("file:", "data:"))] == []


def test_the_outline_leads_to_each_part(look, tmp_path):
    page, _ = look(make_report("one run", tmp_path).as_uri())
    links = page.locator("nav.outline a")
    assert links.count() > 8
    for i in range(links.count()):
        links.nth(i).click()
        page.wait_for_timeout(50)
        target = links.nth(i).get_attribute("href")
        box = page.locator(target).bounding_box()
        end = page.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 2")
        assert 0 <= box["y"] < 60 or end
        assert links.nth(i).is_visible()


def test_recall_of_classes_can_be_sorted(look, tmp_path):
    page, _ = look(make_report("one task", tmp_path).as_uri())
    page.get_by_role("button", name="recall").click()
    page.get_by_role("button", name="recall").click()
    shown = page.locator("table.class-table tbody td:nth-child(3)").all_inner_texts()
    values = [float(text) for text in shown]
    assert len(values) == 10
    assert values == sorted(values)
    assert values[0] < values[-1]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            "<p style='position:absolute;top:0'>first</p>"
            "<p style='position:absolute;top:4px'>second</p>",
            "overlap",
        ),
        ("<p style='white-space:nowrap;width:2000px'>" + "wide " * 300 + "</p>", "sideways"),
        (
            "<p class='class-name' style='width:3em;overflow-wrap:anywhere'>unbreakable</p>",
            "broken",
        ),
        ("<p class='class-name' style='width:3em'>un<wbr>br eak able</p><p>next</p>", None),
    ],
)
def test_what_is_required_of_pages_is_found_where_it_is_broken(look, tmp_path, body, found):
    (tmp_path / "page.html").write_text(f"<!doctype html><body>{body}</body>")
    page, _ = look((tmp_path / "page.html").as_uri())
    assert (sideways(page) > 0) == (found == "sideways")
    assert (overlaps(page) != []) == (found == "overlap")
    assert (broken_words(page) != []) == (found == "broken")
