r"""File names as text, reversibly: bytes that are not UTF-8 and control characters are escaped.

A file name is a sequence of bytes and need not be UTF-8. Python represents other bytes as lone
surrogates, which are neither valid UTF-8 nor accepted by strict JSON parsers. In tables, JSON and
reports such a byte is written as ``\xNN``, as in ``caf\xe9.mp4``. Ordinary names are unchanged.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2})")
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def escape_name(name: str) -> str:
    r"""Convert a file name, as returned by Python, to text that can be encoded as UTF-8.

    Each byte of a character that is no text becomes ``\xNN`` (hexadecimal, lower case). Backslashes
    are doubled in names that need escapes and in names that look escaped, so that `unescape_name`
    is the inverse for every file name.
    """
    if not _NO_TEXT.search(name) and not _ESCAPE.search(name):
        return name
    return _NO_TEXT.sub(_as_bytes, name.replace("\\", "\\\\"))


def unescape_name(text: str) -> str:
    """Return the file name, which ``open`` accepts, of a text from `escape_name`."""
    raw = re.sub(
        _ESCAPE.pattern.encode(),
        lambda match: b"\\" if match[1] == b"\\" else bytes([int(match[1][1:], 16)]),
        text.encode(),
    )
    return raw.decode("utf-8", "surrogateescape")


def is_escaped(text: str) -> bool:
    """Return whether a text is the escaped form of a different name."""
    return text not in (name := unescape_name(text), "") and escape_name(name) == text


def _as_bytes(match: re.Match[str]) -> str:
    # Half of a surrogate pair, which no file name contains, is three bytes.
    errors = "surrogateescape" if "\udc80" <= match[0] <= "\udcff" else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", errors))
