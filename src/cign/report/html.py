"""Fills the templates; style and script go into the page itself."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from markupsafe import Markup, escape

from cign.report.text import count, duration, number, size

# Where the outline goes; names in a page are escaped, so that none of them is this.
_OUTLINE = "<!-- outline -->"


def fill(template: str, **values: Any) -> str:
    """Fill a template of ``assets/``.

    Args:
        template: Its file name.
        values: What it needs; a name that is missing is an error.

    Returns:
        A page that loads nothing from anywhere.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cign.report", "assets"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters.update(number=number, count=count, size=size, duration=duration)
    environment.filters["breakable"] = breakable
    assets = resources.files("cign.report") / "assets"
    page = environment.get_template(template).render(
        style=(assets / "report.css").read_text(encoding="utf-8"),
        script=(assets / "report.js").read_text(encoding="utf-8"),
        **values,
    )
    return page.replace(_OUTLINE, outline(page))


def breakable(name: str) -> Markup:
    """A name that may be wrapped after underscores and slashes, not inside a word."""
    return Markup(re.sub("(?<=[_/])(?=.)", "<wbr>", str(escape(name))))


def outline(page: str) -> str:
    """Links to the headings of a page: those of parts, and those inside parts if they have ids."""
    links = []
    for level, name, content in re.findall(r'<h([23]) id="([^"]+)">(.*?)</h\1>', page, re.S):
        text = " ".join(re.sub(r'<span class="badge">.*?</span>|<[^>]+>', "", content).split())
        links.append(f'<li class="level-{level}"><a href="#{name}">{text}</a></li>')
    if len(links) < 2:
        return ""
    return f'<nav class="outline" aria-label="Contents"><ul>{"".join(links)}</ul></nav>'
