"""Generate names of instruments: pronounceable, unique, safe as folder names."""

from __future__ import annotations

from cign.synthetic.draws import Draws

_ONSETS = (*"bdfghklmnprstvz", "br", "dr", "gl", "kl", "pl", "st", "tr")
_VOWELS = (*"aeiou", "ai", "au", "ee", "oo")
_MIDDLES = (*"bdlmnrstvz", "ll", "mb", "nd", "nk", "rr")
_ENDINGS = (
    *("phone", "horn", "bell", "pipe", "drum", "lyre", "reed", "chime", "gong", "flute"),
    *("ette", "ina", "orn", "ello", "une", "oon", "ira", "onium"),
)


def draw_name(draws: Draws) -> str:
    """Draw one name, for example ``"brallophone"``."""
    ending = draws.pick(_ENDINGS)
    stem = draws.pick(_ONSETS) + draws.pick(_VOWELS) + draws.pick(_MIDDLES)
    if ending[0] not in "aeiou":
        stem += draws.pick("aeiou")
    return stem + ending


def draw_names(draws: Draws, num_names: int) -> list[str]:
    """Draw distinct names; a shorter list is a prefix of a longer one."""
    names: list[str] = []
    taken: set[str] = set()
    while len(names) < num_names:
        name = draw_name(draws)
        if name not in taken:
            taken.add(name)
            names.append(name)
    return names
