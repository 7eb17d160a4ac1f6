"""Text, numbers and XML as annotation tools write them on any system."""

from __future__ import annotations

import codecs
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import NoReturn
from xml.parsers.expat import ExpatError, ParserCreate
from xml.sax.saxutils import escape, quoteattr

from cign.data.media.recognition import has_media_suffix
from cign.data.walking import visible, walk
from cign.errors import InputError

# The longer mark first: UTF-32 begins like UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
_BEGIN_BYTES = 65536
_LEAST_DECIMALS = 6  # as Audacity and Raven write


def read_label_text(path: Path, what: str) -> str:
    """Read a text in UTF-8 or UTF-16, with or without a byte order mark; line ends become LF.

    Raises:
        InputError: If it cannot be read, or has another encoding.
    """
    try:
        text = _decode(path.read_bytes())
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            "file-unreadable", f"{what} {path} cannot be read ({reason}): check the path"
        ) from None
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(
            "file-unreadable", f"{what} {path} is not UTF-8 or UTF-16 text: save it as UTF-8"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def begin_of(path: Path) -> str:
    """Return the begin of a file as text, for recognising it; empty if it is no text."""
    try:
        with path.open("rb") as file:
            begin = file.read(_BEGIN_BYTES)
        text = _decode(begin, final=len(begin) < _BEGIN_BYTES)
    except (OSError, UnicodeDecodeError):
        return ""
    return "" if "\0" in text else text.replace("\r\n", "\n").replace("\r", "\n")


def _decode(content: bytes, *, final: bool = True) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), None)
    if encoding is None:
        # Without a mark: the zero bytes of Latin letters tell UTF-16 and its byte order.
        begin = content[:512]
        evens, odds = begin[::2].count(0), begin[1::2].count(0)
        if max(evens, odds) * 8 <= len(begin):
            encoding = "utf-8"
        else:
            encoding = "utf-16-be" if evens > odds else "utf-16-le"
    return codecs.getincrementaldecoder(encoding)().decode(content, final)


def number_of(text: object) -> float | None:
    """Return a number with a decimal point or comma; None if the value is not a number."""
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        return None
    value = text.strip() if isinstance(text, str) else text
    if isinstance(value, str):
        if "_" in value:  # Python's own notation
            return None
        if _DECIMAL_COMMA.fullmatch(value):
            value = value.replace(",", ".")
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def seconds_of(text: object, name: str, where: object) -> float:
    """Return a time.

    Raises:
        InputError: If it is not a number.
    """
    value = number_of(text)
    if value is None:
        raise InputError("bad-list", f"{where}: {name} is {text!r}; give a number of seconds")
    return value


def plain(value: float) -> str:
    """Write a number exactly, without an exponent, with at least six decimals."""
    text = format(Decimal(repr(float(value))), "f")
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.ljust(_LEAST_DECIMALS, '0')}"


def label_files(source: Path, suffixes: Sequence[str], what: str) -> list[Path]:
    """Return the label files of a source: the file itself, or those below the folder, sorted.

    Raises:
        InputError: If the folder contains none.
    """
    if source.is_file():
        return [source]
    found = [
        folder / name
        for folder, _, names in walk(source)
        for name in names
        if name.lower().endswith(tuple(suffixes))
    ]
    if not found:
        raise InputError(
            "file-missing",
            f"folder {source} contains no {' or '.join(suffixes)} of {what}: give the folder of "
            "the label files, or another --format",
        )
    return sorted(found)


def is_label_folder(source: Path) -> bool:
    """Whether label files at the top of a source may decide its format.

    Not if media are only in folders below, which may be class folders.
    """
    return not source.is_dir() or any(map(has_media_suffix, visible(source))) or no_media(source)


def no_media(source: Path) -> bool:
    """Whether no file at any depth has the suffix of media: the recordings are elsewhere."""
    return not any(has_media_suffix(Path(name)) for _, _, names in walk(source) for name in names)


def parse_xml(path: Path, what: str) -> ElementTree.Element:
    """Parse XML without a document type: entities could expand to any size or read other files.

    Raises:
        InputError: If it cannot be read, is not XML, or declares a document type.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            "file-unreadable", f"{what} {path} cannot be read ({reason}): check the path"
        ) from None
    return parse_xml_text(content, f"{what} {path}")


def parse_xml_text(content: bytes, what: str) -> ElementTree.Element:
    """Parse the text of an XML document, see `parse_xml`.

    Args:
        content: The document.
        what: What it is, for messages.

    Raises:
        InputError: If it is not XML, or declares a document type.
    """
    checker = ParserCreate()

    def refuse(*_: object) -> NoReturn:
        raise InputError(
            "wrong-format",
            f"{what} declares a document type (<!DOCTYPE ...>), which may hide harmful "
            "entities: remove the declaration",
        )

    checker.StartDoctypeDeclHandler = refuse
    try:
        checker.Parse(content, True)
        return ElementTree.fromstring(content)
    except (ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(
            "file-unreadable",
            f"{what} is not valid XML ({error}): export or save it again",
        ) from None


def text_node(name: str, text: object, indent: str = "") -> str:
    """One line of XML: an element that contains a text."""
    return f"{indent}<{name}>{escape(str(text))}</{name}>\n"


def attributes(values: Mapping[str, object]) -> str:
    """The attributes of an element of XML, with a blank before each."""
    return "".join(f" {name}={quoteattr(str(value))}" for name, value in values.items())
