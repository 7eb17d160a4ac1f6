"""Texts of the tabs Label and Check as HTML: pure functions that escape their arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from cign.app import cards
from cign.app.labelling import Shown
from cign.report.html import breakable
from cign.serving.model_service import Taught

KEYS = {
    "label-first": "1",
    "label-second": "2",
    "label-none": "n",
    "label-unsure": "u",
    "label-back": "b",
    "check-keep": "k",
    "check-correct": "c",
    "check-none": "n",
}
"""The key of each button, by its id."""
# Presses the visible button of a key, unless something is being typed.
SCRIPT = """<script>
document.addEventListener("keydown", event => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable], [role=listbox]")) return;
  for (const button of document.querySelectorAll("button[id^=label-], button[id^=check-]")) {
    const text = button.textContent, key = text.slice(text.lastIndexOf("(") + 1, -1);
    if (text.endsWith(")") && key === event.key && button.checkVisibility() && !button.disabled) {
      event.preventDefault();
      button.click();
      return;
    }
  }
});
</script>"""


def clip(shown: Shown, frame: str, sound: str, learned: str | None = None) -> str:
    """A clip that waits for a decision: progress, image, sound and guesses.

    Args:
        shown: The clip.
        frame: Its frame as a data URL; empty without.
        sound: Its sound as a data URL; empty without.
        learned: In a check, the label that is in doubt.
    """
    picture = f"<img class='clip' alt='frame of the clip' src='{escape(frame, quote=True)}'>"
    player = f"<audio class='clip' controls src='{escape(sound, quote=True)}'></audio>"
    words = "The model suggests" if learned is None else "Suggested instead"
    doubt = "" if learned is None else f"<p>Learned as <b>{breakable(learned)}</b></p>"
    return cards.block(
        f"<p class='progress'><b>{shown.number} of {shown.total}</b> "
        f"<span class='soft small name'>{breakable(shown.name)}</span></p>"
        f"{picture if frame else ''}{player if sound else ''}{doubt}"
        f"<h3>{words}</h3>{_guesses(shown.guesses)}",
        "cign-label",
    )


def _guesses(guesses: Sequence[tuple[str, float]]) -> str:
    rows = "".join(
        f"<li><span class='name'>{breakable(name)}</span>"
        f"<span class='number'>{probability:.2f}</span>"
        f"<span class='bar' style='--c:var(--link);--v:{probability:.4f}'></span></li>"
        for name, probability in guesses
    )
    return f"<ul class='bars'>{rows}</ul>"


def done(num_labelled: int, notes: Sequence[str] = ()) -> str:
    """The end of a round."""
    listed = "".join(f"<li>{escape(note)}</li>" for note in notes)
    words = (
        "All clips of this round are decided. Learn the labels, or propose the next clips."
        if num_labelled
        else "No clip waits for a label. Propose clips to begin."
    )
    return cards.block(f"<p class='soft'>{words}</p><ul class='notes'>{listed}</ul>", "cign-empty")


def without_clips() -> str:
    """The Label tab of a page without clips."""
    return cards.block(
        "<p class='soft'>There are no clips to label: start the page with <code>cign app MODEL "
        "--teach --clips SOURCE</code>. Corrections of predictions (tab Ask) are listed and "
        "learned here all the same.</p>",
        "cign-empty",
    )


def pending(counts: Counter[str]) -> str:
    """The labels that are not learned yet."""
    if not counts:
        return cards.block("<p class='soft small'>No label waits to be learned.</p>", "cign-list")
    listed = ", ".join(
        f"{breakable(name) if name else 'none of the classes'}&nbsp;({number})"
        for name, number in counts.items()
    )
    number = counts.total()
    return cards.block(
        f"<p><b>{number} {'label' if number == 1 else 'labels'} not learned yet:</b> {listed}</p>",
        "cign-list",
    )


def learned(one: Taught) -> str:
    """What was learned from labels, and the effect."""
    addition = one.addition
    replaced = (
        f"<p>Earlier labels replaced: {addition.num_replaced}.</p>" if addition.num_replaced else ""
    )
    words = cards.learned_in_words(addition)
    return cards.block(
        f"<p><b>Learned:</b> {words}.</p>{replaced}{cards.effect(addition)}{cards.remarks(one)}",
        "cign-taught",
    )


def said(sentence: str) -> str:
    """A message."""
    return cards.block(f"<p>{escape(sentence)}</p>", "cign-taught")


def with_key(words: str, button: str) -> str:
    """The text of a button with its key."""
    return f"{words} ({KEYS[button]})"
