r"""Escape file names that are not UTF-8 or contain control characters, reversibly.

A file name consists of bytes. Tables, JSON and reports contain text, so a byte that is not valid
text is written as ``\xNN``, as in ``caf\xe9.mp4``. Ordinary names are not changed.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"\\(\\|x[0-9a-f]{2})")
_LOOKS_ESCAPED = re.compile(r"\\(\\|x[0-9a-f]{2})")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\udc80-\udcff]")


def escape_name(name: str) -> str:
    r"""Convert a file name, as returned by Python, to text that can be encoded as UTF-8.

    Backslashes are doubled in names that need escapes, and in names that look escaped.

    Raises:
        UnicodeEncodeError: If it contains half of a surrogate pair, which no file name contains.
    """
    if _NO_TEXT.search(name) or _LOOKS_ESCAPED.search(name):
        name = _NO_TEXT.sub(_as_bytes, name.replace("\\", "\\\\"))
    name.encode()
    return name


def unescape_name(text: str) -> str:
    """Return the original name of a text from `escape_name`."""
    raw = _ESCAPE.sub(
        lambda match: b"\\" if match[1] == b"\\" else bytes([int(match[1][1:], 16)]), text.encode()
    )
    return raw.decode("utf-8", "surrogateescape")


def is_escaped(text: str) -> bool:
    """Return whether a text is the escaped form of a different name."""
    return text not in (name := unescape_name(text), "") and escape_name(name) == text


def _as_bytes(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))
