"""Fields and event handlers of the tabs Label and Check, of corrections, and of joined classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import gradio as gr

from cign.app import cards, label_cards
from cign.app.label_cards import with_key
from cign.app.label_checking import Checking
from cign.app.labelling import Labelling, Shown
from cign.app.service import Service

_OTHER = "Another class, known or new"
Values = tuple[Any, ...]


class Page(Protocol):
    """What this module needs of `cign.app.page.Handlers`."""

    service: Service

    def state(self) -> Values:
        """Header, classes, undo button, and number of the version that is shown."""

    def undo(self, shown_version: int) -> Values:
        """Return to the previous version; a message and the state."""

    def asked_clip(self, request: gr.Request) -> Path | None:
        """The clip that an open page shows a prediction of."""


class LabelTabs:
    """The fields of the tabs Label and Check, laid out where this is created."""

    def __init__(self) -> None:
        with gr.Tab("Label") as self.label_tab, gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=280):
                # Not beside the tabs, whose order it would change.
                self.key, self.doubt_key = gr.State(""), gr.State("")
                self.clip = gr.HTML(padding=False, elem_id="label-clip")
            with gr.Column(scale=2, min_width=280):
                self.first = _big("label-first", "primary")
                self.second = _big("label-second")
                with gr.Group():
                    self.other = _class_field("label-class")
                    self.use = gr.Button("Use this class", elem_id="label-use")
                self.none = _big("label-none")
                with gr.Row():
                    self.unsure = _big("label-unsure")
                    self.back = _big("label-back")
                self.pending = gr.HTML(padding=False, elem_id="label-list")
                self.learn = gr.Button(
                    "Learn these labels", variant="primary", size="lg", elem_id="label-learn"
                )
                self.next = gr.Button("Propose the next clips", elem_id="label-next")
                self.undo = gr.Button("Undo", visible=False, elem_id="label-undo")
                self.told = gr.HTML(padding=False, elem_id="label-told")
        with gr.Tab("Check") as self.check_tab, gr.Row(equal_height=False):
            with gr.Column(scale=3, min_width=280):
                self.doubt = gr.HTML(
                    cards.block(
                        "<p class='soft'>Finds learned clips whose labels may be wrong: each is "
                        "predicted by the model without it.</p>",
                        "cign-empty",
                    ),
                    padding=False,
                    elem_id="check-clip",
                )
            with gr.Column(scale=2, min_width=280):
                self.check = gr.Button(
                    "Look for suspicious labels", variant="primary", elem_id="check-start"
                )
                self.keep = _big("check-keep")
                self.correct = _big("check-correct")
                with gr.Group():
                    self.right = _class_field("check-class")
                    self.use_right = gr.Button("Use this class", elem_id="check-use")
                self.right_none = _big("check-none")
                self.to_correct = gr.HTML(padding=False, elem_id="check-list")
                self.relearn = gr.Button(
                    "Correct these labels", variant="primary", size="lg", elem_id="check-learn"
                )
                self.checked = gr.HTML(padding=False, elem_id="check-told")

    @property
    def of_label(self) -> list[Any]:
        """Fields that `LabelHandlers.view` fills."""
        return [
            *(self.key, self.clip, self.first, self.second, self.other, self.use, self.none),
            *(self.unsure, self.back, self.pending, self.learn, self.next, self.undo),
        ]

    @property
    def of_check(self) -> list[Any]:
        """Fields that `LabelHandlers.check_view` fills."""
        return [
            *(self.doubt_key, self.doubt, self.keep, self.correct, self.right, self.use_right),
            *(self.right_none, self.to_correct, self.relearn),
        ]


def _big(name: str, variant: Any = "secondary") -> gr.Button:
    return gr.Button(visible=False, size="lg", variant=variant, elem_id=name)


def _class_field(name: str) -> gr.Dropdown:
    return gr.Dropdown(
        [], value=None, allow_custom_value=True, label=_OTHER, elem_id=name, visible=False
    )


def correction_fields() -> tuple[Any, ...]:
    """The fields that correct a prediction."""
    with gr.Group():
        name = gr.Dropdown(
            [],
            value=None,
            allow_custom_value=True,
            label="This is wrong: it is ...",
            elem_id="correct-class",
        )
        button = gr.Button("Add to the labels", elem_id="correct")
    return name, button, gr.HTML(padding=False, elem_id="correct-told")


def joining_fields() -> tuple[Any, ...]:
    """The fields that make one class of two."""
    with gr.Accordion("Two classes that are the same thing", open=False, elem_id="join"):
        with gr.Row():
            first = gr.Dropdown([], label="This class", elem_id="join-first")
            second = gr.Dropdown([], label="is the same as (name stays)", elem_id="join-second")
        button = gr.Button("Make one class of both", elem_id="join-button")
        return first, second, button, gr.HTML(padding=False, elem_id="join-told")


class LabelHandlers:
    """Event handlers of these fields.

    Args:
        labelling: Labels and clips.
        page: Handlers of the other tabs.
    """

    def __init__(self, labelling: Labelling, page: Page) -> None:
        self.labels, self.page = labelling, page
        self.checking = Checking(labelling)

    # ------------------------------------------------------------------ views

    def view(self) -> Values:
        """Values of `LabelTabs.of_label`."""
        labels, shown = self.labels, self.labels.current()
        has = shown is not None
        names = [name for name, _ in shown.guesses[:2]] if shown else []
        first, second = (
            gr.update(
                visible=len(names) > n, value=with_key(names[n], button) if len(names) > n else ""
            )
            for n, button in enumerate(("label-first", "label-second"))
        )
        counts = labels.pending_counts()
        versions = self.page.service.versions()
        undo = cards.undo_label(versions)
        return (
            shown.key if shown else "",
            self._card(shown),
            first,
            second,
            gr.update(visible=has, choices=labels.classes(), value=None),
            gr.update(visible=has),
            gr.update(visible=has, value=with_key("None of these", "label-none")),
            gr.update(visible=has, value=with_key("Unsure", "label-unsure")),
            gr.update(visible=bool(labels.session.round), value=with_key("Back", "label-back")),
            label_cards.pending(counts),
            gr.update(interactive=bool(counts)),
            gr.update(visible=not has and labels.pool.num_to_label > 0),
            gr.update(value=undo or "Undo", visible=undo is not None),
        )

    def _card(self, shown: Shown | None) -> str:
        pool = self.labels.pool
        if shown is not None:
            return label_cards.clip(shown, pool.frame(shown.key), pool.sound(shown.key))
        if not pool.num_to_label:
            return label_cards.without_clips()
        return label_cards.done(len(self.labels.session.round), self.labels.notes)

    def check_view(self) -> Values:
        """Values of `LabelTabs.of_check`."""
        found, pool = self.checking.current(), self.labels.pool
        counts = self.labels.pending_counts()
        rest = (label_cards.pending(counts), gr.update(interactive=bool(counts)))
        hidden = gr.update(visible=False)
        if found is None:
            text = "No suspicious label waits for a decision."
            return ("", label_cards.said(text), *[hidden] * 5, *rest)
        shown, label = found
        suggested = shown.guesses[0][0]
        key = shown.key
        return (
            key,
            label_cards.clip(shown, pool.frame(key), pool.sound(key), learned=label),
            gr.update(visible=True, value=with_key(f"Keep {label}", "check-keep")),
            gr.update(visible=True, value=with_key(f"Correct to {suggested}", "check-correct")),
            gr.update(visible=True, choices=self.labels.classes(), value=None),
            gr.update(visible=True),
            gr.update(visible=True, value=with_key("None of these", "check-none")),
            *rest,
        )

    def choices(self) -> Values:
        """Classes to choose from on the tabs Ask and Classes."""
        known = list(self.page.service.model.classes)
        return (
            gr.update(choices=self.labels.classes(), value=None),
            gr.update(choices=known, value=None),
            gr.update(choices=known, value=None),
        )

    # ---------------------------------------------------------------- actions

    def doing(self, action: Callable[..., str | None], view: Callable[[], Values]) -> Any:
        """A handler that acts, and returns a message and the values of a view."""

        def handle(*values: Any) -> Values:
            try:
                message = action(*values) or ""
            except Exception as error:
                message = cards.problem(cards.sentence(error))
            return (message, *view())

        return handle

    def guess(self, number: int) -> Callable[[str], None]:
        """Accept a guess of the model."""
        return lambda key: self.labels.label(key, self.labels.session.round[key][number][0])

    def correct(self, key: str) -> None:
        """Accept the suggestion of the check."""
        found = self.checking.current()
        if found is not None and found[0].key == key:
            self.checking.correct(key, found[0].guesses[0][0])

    def begin(self) -> None:
        """Propose clips when the tab is opened for the first time."""
        if self.labels.pool.num_to_label and not self.labels.session.round:
            self.labels.propose()

    def learn(self) -> str:
        """Learn all labels, and propose the next round."""
        told = label_cards.learned(self.labels.learn())
        if self.labels.pool.num_to_label and self.labels.current() is None:
            try:
                self.labels.propose()
            except Exception as error:
                told += label_cards.said(cards.sentence(error).capitalize() + ".")
        return told

    def check(self) -> str:
        """Look for suspicious labels."""
        number = self.checking.check()
        return label_cards.said(
            f"{number or 'No'} suspicious {'label' if number == 1 else 'labels'} found."
        )

    def undo(self, shown_version: int) -> str:
        """Return to the previous version; labels that it had not learned wait to be learned."""
        return str(self.page.undo(shown_version)[0])

    def join(self, first: str | None, second: str | None) -> str:
        """Make one class of two."""
        words, version = self.labels.join(first or "", second or "")
        return label_cards.said(f"{words}. Saved as version {version}.")

    def add_correction(self, name: str | None, request: gr.Request) -> Values:
        """Put the clip of the prediction into the labels, with its right class."""
        clip = self.page.asked_clip(request)
        try:
            if clip is None:
                text = label_cards.said("Choose a clip first.")
            else:
                label = self.labels.correct(clip, name or "")
                text = label_cards.said(
                    f"Listed as {label}. Learn it on the tab Label, with the other labels."
                )
        except Exception as error:
            text = cards.problem(cards.sentence(error))
        return text, *self.view()
