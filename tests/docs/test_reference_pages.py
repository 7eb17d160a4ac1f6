"""The reference pages name every registered part."""

import re

import pytest

from cign.backbones.registered import BACKBONES
from cign.data.formats.registry import FORMATS
from cign.methods import METHODS
from cign.metrics.catalogue import metric_groups
from pages import DOCS


def built_in(registry):
    return [name for name in registry if registry[name].__module__.startswith("cign.")]


@pytest.mark.parametrize(
    ("registry", "page"),
    [(METHODS, "methods/README.md"), (BACKBONES, "backbones.md"), (FORMATS, "formats.md")],
)
def test_page_names_every_part(registry, page):
    text = (DOCS / page).read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    first_columns = " ".join(row.split("|")[1] for row in rows).replace(",", " ").replace("`", " ")
    missing = set(built_in(registry)) - set(
        first_columns.replace("[", " ").replace("]", " ").split()
    )
    assert missing == set()


def test_every_method_has_a_page():
    text = (DOCS / "methods" / "README.md").read_text()
    for name in built_in(METHODS):
        module = METHODS[name].__module__.rpartition(".")[2]
        assert f"({module}.md)" in text, name
        assert (DOCS / "methods" / f"{module}.md").is_file()


def test_metrics_page_names_the_module_of_every_group():
    text = (DOCS / "metrics.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| \[.*\]\(#.*\) \| `(\w+)\.py` \|$", text, re.M))
    groups = metric_groups().items()
    assert rows == {name: group.__module__.rpartition(".")[2] for name, group in groups}


def test_metrics_page_names_every_metric():
    text = (DOCS / "metrics.md").read_text()
    for group in metric_groups().values():
        for name in group.definitions:
            base = name.removesuffix("_old").removesuffix("_new")
            plain = name if base not in group.definitions else base
            stem, _, number = plain.rpartition("_")
            if f"`{plain}`" in text:
                continue
            assert number.isdigit(), f"{name} is not in docs/metrics.md"
            assert f"`_{number}`" in text, plain
            assert f"`{stem}_" in text, plain
