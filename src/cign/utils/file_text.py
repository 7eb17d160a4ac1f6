"""Reversible encoding of file names as valid UTF-8 text.

A file name is a sequence of bytes and need not be UTF-8. Python represents other bytes as lone
surrogates, which are neither valid UTF-8 nor accepted by strict JSON parsers.
"""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2})")
_SURROGATE = re.compile("[\ud800-\udfff]")


def name_to_text(name: str) -> str:
    r"""Encode a file name; nearly all names are unchanged.

    In a name with a byte that is not UTF-8, each such byte becomes ``\xNN`` (hexadecimal, lower
    case) and each backslash ``\\``. A name that would be mistaken for an encoded one gets its
    backslashes doubled too, so that `text_to_name` is the inverse for every name.

    Args:
        name: File name as in Python (``os.fsdecode``).
    """
    if not _SURROGATE.search(name) and not _ESCAPE.search(name):
        return name
    return _SURROGATE.sub(_as_bytes, name.replace("\\", "\\\\"))


def text_to_name(text: str) -> str:
    """Decode the text of `name_to_text` to a file name that ``open`` accepts."""
    return _ESCAPE.sub(
        lambda found: "\\" if found[1] == "\\" else chr(0xDC00 + int(found[1][1:], 16)), text
    )


def _as_bytes(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # one byte of a file name
        return f"\\x{code - 0xDC00:02x}"
    # Never in file names; encode the three bytes of its WTF-8 form.
    return "".join(f"\\x{byte:02x}" for byte in found[0].encode("utf-8", "surrogatepass"))
