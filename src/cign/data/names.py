r"""File names as text: names that are not UTF-8 or hold control characters, written reversibly.

A file's name is bytes. Tables, JSON and reports hold text, so that a byte that is no text is
written as ``\xNN``, as in ``caf\xe9.mp4``. Ordinary names stay as they are.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(rb"\\(\\|x[0-9a-f]{2})")
_LOOKS_ESCAPED = re.compile(r"\\(\\|x[0-9a-f]{2})")
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\udc80-\udcff]")


def escape_name(name: str) -> str:
    r"""Write a file's name, as Python gives it, as text that any file can hold.

    In a name that needs it, and in one that looks like an escaped one, backslashes are doubled.

    Raises:
        UnicodeEncodeError: If it holds half of a surrogate pair, which no file's name gives.
    """
    if _NO_TEXT.search(name) or _LOOKS_ESCAPED.search(name):
        name = _NO_TEXT.sub(_as_bytes, name.replace("\\", "\\\\"))
    name.encode()
    return name


def unescape_name(text: str) -> str:
    """Give back the name that `escape_name` wrote."""
    raw = _ESCAPE.sub(
        lambda match: b"\\" if match[1] == b"\\" else bytes([int(match[1][1:], 16)]), text.encode()
    )
    return raw.decode("utf-8", "surrogateescape")


def is_escaped(text: str) -> bool:
    """Whether a text is what `escape_name` writes of another one."""
    return text not in (name := unescape_name(text), "") and escape_name(name) == text


def _as_bytes(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))
