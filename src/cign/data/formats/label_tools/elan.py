"""Annotations of ELAN (Max Planck Institute for Psycholinguistics): the XML format EAF."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from cign.data.formats.label_tools.segments import NO_LABEL, Place, Segments
from cign.data.formats.label_tools.text import (
    attributes,
    is_label_folder,
    label_files,
    parse_xml,
    text_node,
)
from cign.data.formats.label_tools.tracks import MODEL, Track, intervals, register_writer
from cign.data.formats.listing import Listing
from cign.data.formats.registry import register_format
from cign.data.media.recognition import AUDIO_SUFFIXES
from cign.errors import InputError, one_of
from cign.utils.file_text import escape_name

_WHAT = "annotation document"
_NO_TIME = "without a time"
_DATE = "2000-01-01T00:00:00Z"  # the same input gives the same file


class _Times(NamedTuple):
    """Start and end of an annotation in milliseconds; None where ELAN stores no time."""

    start_ms: float | None
    end_ms: float | None


def is_elan(path: Path, source: Path) -> bool:
    """Whether a file decides the format of a source: EAF has its own suffix."""
    return path.is_file() and is_label_folder(source)


@register_format(
    "elan",
    files=(re.compile(r".*\.eaf", re.IGNORECASE),),
    content=is_elan,
    states_splits=False,
    choices=True,
)
def read_elan(source: Path, media: Sequence[Path] = (), *, choice: str | None = None) -> Listing:
    """Read the annotations of all tiers, or of one, as segments.

    An annotation that refers to another has its times; several that subdivide the same one divide
    its times equally, as ELAN shows them.

    Args:
        source: A document, or a folder with documents at any depth.
        media: Folders with the recordings; the folder of the documents if empty.
        choice: Name of the tier; all tiers if absent.

    Raises:
        InputError: If there is no document, or one is damaged.
    """
    segments = Segments(source, media)
    counts: Counter[str] = Counter()
    for path in label_files(source, (".eaf",), "ELAN"):
        counts.update(_read_document(path, choice, segments))
    if choice is not None and choice not in counts:
        raise one_of(choice, list(counts), f"tier of {source}")
    note = ", ".join(f"{name} {number}" for name, number in counts.items())
    remedy = "" if choice is not None or len(counts) < 2 else "; --format elan/TIER chooses one"
    return segments.listing((f"annotations by tier: {note}{remedy}",) if counts else ())


def _read_document(path: Path, choice: str | None, segments: Segments) -> Counter[str]:
    """Add the annotations of a document, and return their number by tier."""
    root = parse_xml(path, _WHAT)
    if root.tag != "ANNOTATION_DOCUMENT":
        raise InputError("wrong-format", f"{path} is not a document of ELAN: give a saved .eaf")
    units = next((h.get("TIME_UNITS", "milliseconds") for h in root.iter("HEADER")), "milliseconds")
    if units != "milliseconds":
        raise InputError("unsupported", f"{path} has times in {units}: save it with a new ELAN")
    names, origin_ms = _media(root, path, segments)
    recording = segments.recordings.find(names, path, path)
    times = _all_times(root, path)
    counts: Counter[str] = Counter()
    for tier in root.iter("TIER"):
        name = tier.get("TIER_ID", "")
        counts[name] += 0
        for annotation in _annotations(tier):
            counts[name] += 1
            if choice not in (None, name):
                continue
            where = Place(path, f"annotation {annotation.get('ANNOTATION_ID')} of tier {name!r}")
            value = annotation.findtext("ANNOTATION_VALUE") or ""
            start_ms, end_ms = times[annotation.get("ANNOTATION_ID", "")]
            if not value.strip():
                segments.ignore(where, NO_LABEL)
            elif start_ms is None or end_ms is None:
                segments.ignore(where, _NO_TIME)
            else:
                start_s, end_s = ((ms + origin_ms) / 1000 for ms in (start_ms, end_ms))
                segments.add(recording, start_s, end_s, (value,), where)
    return counts


def _annotations(tier: ElementTree.Element) -> Iterator[ElementTree.Element]:
    for annotation in tier.iter("ANNOTATION"):
        yield from annotation


def _media(root: ElementTree.Element, path: Path, segments: Segments) -> tuple[list[str], float]:
    """Names of the recording, the best first, and what to add to times in it, in milliseconds."""
    found: list[tuple[bool, list[str], float]] = []
    for one in root.iter("MEDIA_DESCRIPTOR"):
        names = [one.get(key, "") for key in ("RELATIVE_MEDIA_URL", "MEDIA_URL")]
        names = [name for name in names if name]
        if names:
            origin = _milliseconds(one.get("TIME_ORIGIN", "0"), f"{path}: TIME_ORIGIN")
            is_audio = Path(names[0]).suffix.lower() in AUDIO_SUFFIXES
            found.append((is_audio, names, origin))
    found.sort(key=lambda one: one[0])  # of a video and its audio, the video
    if not found:
        return [f"{path.stem}.mp4"], 0.0
    for _, names, origin in found:
        if segments.recordings.find(names, path, path).path.is_file():
            return names, origin
    return found[0][1], found[0][2]


def _milliseconds(text: str, where: str) -> float:
    try:
        return float(int(text))
    except ValueError:
        raise InputError("bad-list", f"{where} is {text!r}, not a number of milliseconds") from None


def _all_times(root: ElementTree.Element, path: Path) -> dict[str, _Times]:
    """Times of all annotations by their id."""
    slots: dict[str | None, float | None] = {}
    for slot in root.iter("TIME_SLOT"):
        text = slot.get("TIME_VALUE")
        where = f"{path}: time slot {slot.get('TIME_SLOT_ID')}"
        slots[slot.get("TIME_SLOT_ID")] = None if text is None else _milliseconds(text, where)
    times: dict[str, _Times] = {}
    children: dict[str, list[ElementTree.Element]] = {}
    for tier in root.iter("TIER"):
        for one in _annotations(tier):
            if one.tag == "ALIGNABLE_ANNOTATION":
                ends = [one.get(f"TIME_SLOT_REF{number}") for number in (1, 2)]
                unknown = [slot for slot in ends if slot not in slots]
                if unknown:
                    raise _missing(path, one, f"time slot {unknown[0]}")
                times[one.get("ANNOTATION_ID", "")] = _Times(*(slots[slot] for slot in ends))
            else:
                key = f"{one.get('ANNOTATION_REF')}\0{tier.get('TIER_ID')}"
                children.setdefault(key, []).append(one)
    pending = dict(children)
    while pending:  # a referring annotation may itself be referred to
        ready = [key for key in pending if key.partition("\0")[0] in times]
        if not ready:
            first = next(iter(pending.values()))[0]
            raise _missing(path, first, f"annotation {first.get('ANNOTATION_REF')}")
        for key in ready:
            _divide(times[key.partition("\0")[0]], pending.pop(key), times)
    return times


def _missing(path: Path, annotation: ElementTree.Element, what: str) -> InputError:
    return InputError(
        "bad-list",
        f"{path}: annotation {annotation.get('ANNOTATION_ID')} refers to {what}, which does not "
        "exist: save the document again",
    )


def _divide(
    parent: _Times, children: Sequence[ElementTree.Element], times: dict[str, _Times]
) -> None:
    """Divide the times of an annotation equally among those that subdivide it."""
    after = {child.get("PREVIOUS_ANNOTATION"): child for child in children}
    chain: list[ElementTree.Element] = []
    following = after.get(None)
    while following is not None and len(chain) < len(children):
        chain.append(following)
        following = after.get(following.get("ANNOTATION_ID"))
    if len(chain) < len(children):  # not a chain: each has the whole time
        chain = []
        times.update({child.get("ANNOTATION_ID", ""): parent for child in children})
    for number, child in enumerate(chain):
        if parent.start_ms is None or parent.end_ms is None:
            part = parent
        else:
            step_ms = (parent.end_ms - parent.start_ms) / len(chain)
            begin_ms = parent.start_ms + number * step_ms
            is_last = number + 1 == len(chain)
            part = _Times(begin_ms, parent.end_ms if is_last else begin_ms + step_ms)
        times[child.get("ANNOTATION_ID", "")] = part


@register_writer("elan")
def write_elan(tracks: Sequence[Track]) -> Iterator[tuple[str, str]]:
    """Yield a document per recording, with times in whole milliseconds.

    Annotations of a tier must not overlap: those that do are in further tiers, ``labels-2``, ....
    """
    for track in tracks:
        yield track.file_name(".eaf"), _document(track)


def _document(track: Track) -> str:
    tiers: list[list[tuple[int, int, str]]] = []
    for start_s, end_s, label in sorted(intervals(track)):
        start_ms = round(start_s * 1000)
        item = (start_ms, max(round(end_s * 1000), start_ms + 1), label)
        tier = next((tier for tier in tiers if tier[-1][1] <= start_ms), None)
        if tier is None:
            tiers.append([item])
        else:
            tier.append(item)
    slots, lines, number = [], [], 0
    for position, tier in enumerate(tiers, 1):
        name = "labels" if position == 1 else f"labels-{position}"
        lines.append(f"  <TIER{attributes({'LINGUISTIC_TYPE_REF': MODEL, 'TIER_ID': name})}>\n")
        for start_ms, end_ms, label in tier:
            number += 1
            slots += [(start_ms, f"ts{2 * number - 1}"), (end_ms, f"ts{2 * number}")]
            ids = {
                "ANNOTATION_ID": f"a{number}",
                "TIME_SLOT_REF1": f"ts{2 * number - 1}",
                "TIME_SLOT_REF2": f"ts{2 * number}",
            }
            lines += [
                f"    <ANNOTATION>\n      <ALIGNABLE_ANNOTATION{attributes(ids)}>\n",
                text_node("ANNOTATION_VALUE", label, " " * 8),
                "      </ALIGNABLE_ANNOTATION>\n    </ANNOTATION>\n",
            ]
        lines.append("  </TIER>\n")
    schema = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
    begin = attributes(
        {
            "AUTHOR": MODEL,
            "DATE": _DATE,
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": schema,
        }
    )
    is_audio = track.path.suffix.lower() in AUDIO_SUFFIXES
    descriptor = attributes(
        {
            "MEDIA_URL": track.path.absolute().as_uri(),
            "MIME_TYPE": ("audio/x-wav" if is_audio else "video/mp4"),
            "RELATIVE_MEDIA_URL": "./" + quote(escape_name(track.path.name)),
        }
    )
    # Slots are in the order of time; the ids tell which belongs to which annotation.
    order = "".join(
        f"    <TIME_SLOT{attributes({'TIME_SLOT_ID': name, 'TIME_VALUE': ms})}/>\n"
        for ms, name in sorted(slots, key=lambda slot: slot[0])
    )
    kind = attributes(
        {
            "GRAPHIC_REFERENCES": "false",
            "LINGUISTIC_TYPE_ID": MODEL,
            "TIME_ALIGNABLE": "true",
        }
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT{begin}>\n'
        '  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">\n'
        f"    <MEDIA_DESCRIPTOR{descriptor}/>\n  </HEADER>\n"
        f"  <TIME_ORDER>\n{order}  </TIME_ORDER>\n{''.join(lines)}"
        f"  <LINGUISTIC_TYPE{kind}/>\n</ANNOTATION_DOCUMENT>\n"
    )
