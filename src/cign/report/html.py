"""Fills the templates; style and script go into the page itself."""

from __future__ import annotations

from importlib import resources
from typing import Any

from cign.report.text import count, duration, number, size


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
    assets = resources.files("cign.report") / "assets"
    return environment.get_template(template).render(
        style=(assets / "report.css").read_text(encoding="utf-8"),
        script=(assets / "report.js").read_text(encoding="utf-8"),
        **values,
    )
