"""The page /docs: the routes in one HTML file, which loads nothing from any host."""

from __future__ import annotations

import json
import re
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

_TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>cign serve</title>
<meta name="viewport" content="width=device-width">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem;
  color: #1b1f24; background: #fff }
h2 { margin-top: 2.5rem; border-top: 1px solid #d0d7de; padding-top: 1rem; font-size: 1.1rem }
code, pre { font: 0.85rem/1.45 ui-monospace, monospace }
pre { background: #f3f4f6; padding: .75rem; overflow-x: auto; border-radius: 4px }
table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0;
  border-bottom: 1px solid #e5e7eb }
.method { display: inline-block; min-width: 3.5rem; color: #0550ae }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117 } pre { background: #161b22 }
  td, th, h2 { border-color: #30363d } a, .method { color: #79c0ff } }
</style></head><body>
<h1>{{ api.info.title }}</h1>
<p>{{ words(api.info.description) }} The same as <a href="openapi.json">openapi.json</a>.</p>
{% for path, route in api.paths.items() %}{% for method, one in route.items() %}
<h2 id="{{ one.operationId }}"><span class="method">{{ method | upper }}</span>
<code>{{ path }}</code></h2>
<p>{{ one.summary }}.{% if one.description %} {{ words(one.description) }}{% endif %}</p>
{% if one.parameters %}<table><tr><th>parameter</th><th>in</th><th>meaning</th></tr>
{% for item in one.parameters %}<tr><td><code>{{ item.name }}</code></td><td>{{ item.in }}</td>
<td>{{ words(item.description or "") }}{% if item.schema.default is defined %}
 (default: <code>{{ shown(item.schema.default) }}</code>){% endif %}</td></tr>
{% endfor %}</table>{% endif %}
{% for kind, body in (one.requestBody.content if one.requestBody else {}).items() %}
<p>Body <code>{{ kind }}</code>{% if body.schema.description %}: {% endif
%}{{ words(body.schema.description) }}</p>
{% if body.schema.properties and kind.startswith("multipart") %}<table>
{% for name, item in body.schema.properties.items() %}<tr><td><code>{{ name }}</code></td>
<td>{{ words(item.description) }}</td></tr>{% endfor %}</table>{% endif %}
{% if body.example %}<pre>{{ shown(body.example) }}</pre>{% endif %}{% endfor %}
<table><tr><th>status</th><th>answer</th></tr>
{% for status, answer in one.responses.items() %}<tr><td>{{ status }}</td>
<td>{{ words(answer.description) }}{% for kind, body in (answer.content or {}).items() %}
{% if body.example %}<pre>{{ shown(body.example) }}</pre>{% endif %}{% endfor %}</td></tr>
{% endfor %}</table>
{% endfor %}{% endfor %}
</body></html>
"""


def documentation(api: dict[str, Any]) -> str:
    """The page.

    Args:
        api: The description of the routes in OpenAPI.
    """
    template = Environment(autoescape=True, trim_blocks=True).from_string(_TEMPLATE)
    return template.render(api=api, words=_words, shown=lambda value: json.dumps(value, indent=2))


def _words(text: str) -> Markup:
    """Text of the description with code between backticks."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
