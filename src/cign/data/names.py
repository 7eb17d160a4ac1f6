r"""File names as text: names that are not UTF-8 or hold control characters, written reversibly.

A file's name is bytes. Tables, JSON and reports hold text, so that a byte that is no text is
written as ``\xNN``, as in ``caf\xe9.mp4``. Ordinary names stay as they are.
"""

from __future__ import annotations

import re

# A backslash that would read as such an escape is itself written as one.
_TO_ESCAPE = re.compile(r"\\(?=x[0-9a-f]{2})|[\x00-\x1f\x7f-\x9f\udc80-\udcff]")
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


def escape_name(name: str) -> str:
    r"""Write a file's name, as Python gives it, as text that any file can hold.

    Raises:
        UnicodeEncodeError: If it holds half of a surrogate pair, which no file's name gives.
    """
    text = _TO_ESCAPE.sub(
        lambda match: "".join(
            f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape")
        ),
        name,
    )
    text.encode()
    return text


def unescape_name(text: str) -> str:
    """Give back the name that `escape_name` wrote."""
    raw = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), text.encode())
    return raw.decode("utf-8", "surrogateescape")
