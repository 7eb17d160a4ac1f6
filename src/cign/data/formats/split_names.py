"""Parse names of splits in any case and spelling, in folders, shards and columns."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cign.errors import InputError
from cign.vocabulary import SPLITS

_SPELLINGS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validate", "validation"),
    "test": ("test", "testing", "tst"),
    "unknown": ("unknown",),
    # The meaning of these depends on the other splits: "dev" is a training set next to "eval",
    # "eval" is a validation set next to "test".
    "dev": ("dev", "devel", "development"),
    "eval": ("eval", "evaluation"),
}
_WORDS = {word: split for split, words in _SPELLINGS.items() for word in words}
_NO_LETTERS = re.compile(r"[\W\d_]+")
_ENDINGS = ("dataset", "set", "data", "split")
_PARTS = re.compile(r"[\W\d_]+|(?<=[a-z])(?=[A-Z])")


def split_word(name: str) -> str | None:
    """Return the split of a name such as ``Train``, ``training``, ``TRAIN_SET``, ``val2017``.

    Returns:
        One of `SPLITS`, or ``dev`` or ``eval``, which `splits_of` resolves; None for other names.
    """
    letters = _NO_LETTERS.sub("", name.casefold())
    for ending in _ENDINGS:
        if letters.removesuffix(ending) in _WORDS:
            return _WORDS[letters.removesuffix(ending)]
    return _WORDS.get(letters)


def sure_split(name: str) -> str | None:
    """Return the split of an unambiguous value; None for ``dev``, ``eval``, ``test2``, ..."""
    split = split_word(name)
    return split if split in SPLITS and not any(map(str.isdigit, name)) else None


def mentions_split(name: str) -> str | None:
    """Return the split that is a word of a name, as in ``my_train`` or ``cc3m-test-0001``."""
    found = [split for part in _PARTS.split(name) if (split := split_word(part))]
    return found[0] if found else None


def splits_of(names: Iterable[str], what: str) -> dict[str, str]:
    """Return the split of each name, given all names of splits of a source.

    Args:
        names: Names for which `split_word` returns a word; others are skipped.
        what: The source, for the error message.

    Raises:
        InputError: If two names stand for the same split, or a name is ambiguous.
    """
    found = {name: word for name in names if (word := split_word(name))}
    words = set(found.values())
    if "dev" in words:
        if "train" not in words or "val" in words:
            raise _unclear(found, "dev", "training or validation", what)
        found = {name: "val" if word == "dev" else word for name, word in found.items()}
    if "eval" in words:
        split = "val" if "test" in words else "test"
        if split in found.values():
            raise _unclear(found, "eval", "validation or test", what)
        found = {name: split if word == "eval" else word for name, word in found.items()}
    by_split: dict[str, str] = {}
    for name, split in found.items():
        other = by_split.setdefault(split, name)
        if other != name:
            raise InputError(
                "bad-list",
                f"{what} contains {other!r} and {name!r}, which both stand for split {split!r}: "
                f"merge them, or name the folders {', '.join(SPLITS)}",
            )
    return found


def _unclear(found: dict[str, str], word: str, either: str, what: str) -> InputError:
    name = next(name for name, other in found.items() if other == word)
    return InputError(
        "bad-list",
        f"{what} contains {name!r}, which may stand for {either}: rename it to one of "
        f"{', '.join(SPLITS)}",
    )
