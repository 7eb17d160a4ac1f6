"""Links of README and docs lead to files of the checkout."""

import re

import pytest

from pages import DOCS

ROOT = DOCS.parent
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_exist(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    links = re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text)
    files = [link for link in links if not link.startswith(("http", "mailto:"))]
    assert [link for link in files if not (page.parent / link).exists()] == []
