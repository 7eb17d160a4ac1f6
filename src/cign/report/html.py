"""Render the templates, with style sheet and script embedded in the page."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from markupsafe import Markup, escape

from cign.report.text import count, duration, number, size

# Placeholder of the outline; names in a page are escaped, so none can equal it.
_OUTLINE = "<!-- outline -->"


def fill(template: str, **values: Any) -> str:
    """Render a template of ``assets/``.

    Args:
        template: File name of the template.
        values: Variables of the template; a missing variable is an error.

    Returns:
        A self-contained page that makes no requests.
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
    """A name that may wrap after underscores and slashes, but not inside a word."""
    return Markup(re.sub("(?<=[_/])(?=.)", "<wbr>", str(escape(name))))


def outline(page: str) -> str:
    """Links to the headings of a page, of both levels, that have ids."""
    links = []
    for level, name, content in re.findall(r'<h([23]) id="([^"]+)">(.*?)</h\1>', page, re.S):
        text = " ".join(re.sub(r'<span class="badge">.*?</span>|<[^>]+>', "", content).split())
        links.append(f'<li class="level-{level}"><a href="#{name}">{text}</a></li>')
    if len(links) < 2:
        return ""
    return f'<nav class="outline" aria-label="Contents"><ul>{"".join(links)}</ul></nav>'
