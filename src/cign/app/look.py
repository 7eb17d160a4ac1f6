"""Colours and fonts of the page: the colours of the report, system fonts of the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("assets") / "app.css"
PAGE_STYLE = Path(__file__).with_name("assets") / "page.css"
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas")


def make_theme() -> Any:
    """The base theme of Gradio with the report's colours; it downloads no fonts."""
    import gradio

    colours = {
        "body_background_fill": "var(--page)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--soft)",
        "background_fill_primary": "var(--page)",
        "background_fill_secondary": "var(--panel)",
        "border_color_primary": "var(--rule)",
        "block_background_fill": "var(--page)",
        "block_border_color": "var(--rule)",
        "block_label_text_color": "var(--soft)",
        "block_label_background_fill": "var(--page)",
        "block_title_text_color": "var(--ink)",
        "block_info_text_color": "var(--soft)",
        "input_background_fill": "var(--page)",
        "input_border_color": "var(--rule)",
        "input_border_color_focus": "var(--link)",
        "input_placeholder_color": "var(--soft)",
        "button_primary_background_fill": "var(--press)",
        "button_primary_background_fill_hover": "var(--press)",
        "button_primary_text_color": "#ffffff",
        "button_secondary_background_fill": "var(--panel)",
        "button_secondary_background_fill_hover": "var(--rule)",
        "button_secondary_text_color": "var(--ink)",
        "button_secondary_border_color": "var(--rule)",
        "color_accent": "var(--link)",
        "color_accent_soft": "var(--panel)",
        "border_color_accent": "var(--link)",
        "loader_color": "var(--link)",
        "link_text_color": "var(--link)",
    }
    dark = {f"{name}_dark": value for name, value in colours.items() if name != "color_accent"}
    fonts: dict[str, Any] = {
        "font": [*FONTS, "sans-serif"],
        "font_mono": [*MONO, "monospace"],
    }
    return gradio.themes.Base(**fonts).set(**colours, **dark, block_shadow="none")
