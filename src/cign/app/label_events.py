"""Connects the fields of `cign.app.label_page` with their event handlers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from cign.app.label_page import LabelHandlers, LabelTabs

_PRIVATE: dict[str, Any] = {"api_visibility": "private"}


def connect(
    do: LabelHandlers,
    tabs: LabelTabs,
    corrections: tuple[Any, ...],
    joining: tuple[Any, ...],
    *,
    page: gr.Blocks,
    state: list[Any],
    again: Callable[[Any], Any],
) -> None:
    """Connect fields and handlers.

    Args:
        do: The handlers.
        tabs: The fields of the tabs Label and Check.
        corrections: See `cign.app.label_page.correction_fields`.
        joining: See `cign.app.label_page.joining_fields`.
        page: The page.
        state: Fields that describe the model, which `Page.state` fills; the last is the number of
            the version that is shown.
        again: Predicts the latest clip again after an event that changes the model.
    """
    wrong, add, corrected = corrections
    first, second, join, joined = joining
    choices = [wrong, first, second]
    labelling: dict[str, Any] = {
        "concurrency_id": "label",
        "concurrency_limit": 1,
        "show_progress_on": tabs.told,
        **_PRIVATE,
    }
    checking = {**labelling, "show_progress_on": tabs.checked}

    def everything() -> tuple[Any, ...]:
        return (*do.view(), *do.check_view(), *do.page.state(), *do.choices())

    of_all = [*tabs.of_label, *tabs.of_check, *state, *choices]
    of_label, of_check = [tabs.told, *tabs.of_label], [tabs.checked, *tabs.of_check]
    labels, key, doubt = do.labels, tabs.key, tabs.doubt_key

    def label(button: Any, action: Callable[..., Any], inputs: list[Any]) -> None:
        button.click(do.doing(action, do.view), inputs, of_label, **labelling)

    label(tabs.first, do.guess(0), [key])
    label(tabs.second, do.guess(1), [key])
    label(tabs.use, lambda one, name: labels.label(one, name or ""), [key, tabs.other])
    label(tabs.none, labels.label_background, [key])
    label(tabs.unsure, labels.skip, [key])
    label(tabs.back, labels.back, [])
    label(tabs.next, labels.propose, [])

    def check(button: Any, action: Callable[..., Any], inputs: list[Any]) -> None:
        button.click(do.doing(action, do.check_view), inputs, of_check, **checking)

    check(tabs.check, do.check, [])
    check(tabs.keep, do.checking.keep, [doubt])
    check(tabs.correct, do.correct, [doubt])
    check(
        tabs.use_right,
        lambda one, name: do.checking.correct(one, name or ""),
        [doubt, tabs.right],
    )
    check(tabs.right_none, do.checking.correct_to_background, [doubt])

    changing: tuple[tuple[Any, Any, list[Any], Any, dict[str, Any]], ...] = (
        (tabs.learn, do.learn, [], tabs.told, labelling),
        (tabs.relearn, do.learn, [], tabs.checked, checking),
        (tabs.undo, do.undo, [state[-1]], tabs.told, labelling),
        (join, do.join, [first, second], joined, {**labelling, "show_progress_on": joined}),
    )
    for button, action, inputs, told, how in changing:
        again(button.click(do.doing(action, everything), inputs, [told, *of_all], **how))
    add.click(do.add_correction, wrong, [corrected, *tabs.of_label], **labelling)

    page.load(
        lambda: (*do.view(), *do.check_view(), *do.choices()),
        None,
        [*tabs.of_label, *tabs.of_check, *choices],
        show_progress="hidden",
        **_PRIVATE,
    )
    tabs.label_tab.select(do.doing(do.begin, do.view), None, of_label, **labelling)
    tabs.check_tab.select(do.check_view, None, tabs.of_check, show_progress="hidden", **_PRIVATE)
