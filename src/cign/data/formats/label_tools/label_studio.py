"""Annotations of Label Studio for audio and video: its exports "JSON" and "JSON-MIN"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cign.data.formats.label_tools.label_studio_values import parts_of
from cign.data.formats.label_tools.recordings import Recording
from cign.data.formats.label_tools.segments import Place, Segments
from cign.data.formats.label_tools.text import (
    begin_of,
    is_label_folder,
    label_files,
    read_label_text,
)
from cign.data.formats.listing import Listing
from cign.data.formats.registry import register_format
from cign.data.media.recognition import MEDIA_SUFFIXES
from cign.errors import InputError, one_of
from cign.utils.files import parse_json

_WHAT = "export of Label Studio"
_CANCELLED = "a cancelled annotation"
_UNLABELLED = "a task without a completed annotation"
_OTHER = "of another kind than labels and choices"
_MARK = re.compile(r'"(annotations|completions|annotation_id)"\s*:')
_UNUSED = frozenset({"relation", "textarea", "rating", "number", "datetime"})
# Fields of a task in JSON-MIN that are neither data nor labels.
_MINIMAL = frozenset(
    {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
)


def is_label_studio(path: Path, source: Path) -> bool:
    """Whether a file is an export of Label Studio, by the fields of its first tasks."""
    begin = begin_of(path).lstrip()
    return begin.startswith("[") and bool(_MARK.search(begin)) and is_label_folder(source)


@register_format(
    "label-studio",
    files=(re.compile(r".*\.json", re.IGNORECASE),),
    content=is_label_studio,
    states_splits=False,
    choices=True,
)
def read_label_studio(
    source: Path, media: Sequence[Path] = (), *, choice: str | None = None
) -> Listing:
    """Read regions as segments, and choices on a whole file as clips of the whole recording.

    Completed annotations are used: of a task that has annotations marked as ground truth, these
    alone. Cancelled annotations, drafts and predictions are not used.

    Args:
        source: An export, or a folder with exports at any depth.
        media: Folders with the recordings; the folder of the exports if empty.
        choice: Name of the control that holds the class (``from_name``; in JSON-MIN the field);
            all controls if absent.

    Raises:
        InputError: If there is no export, an entry is wrong, or annotators contradict each other.
    """
    segments = Segments(source, media)
    paths = label_files(source, (".json",), "Label Studio")
    exports = [path for path in paths if source.is_file() or is_label_studio(path, path)]
    if not exports:
        raise InputError(
            "wrong-format",
            f"folder {source} contains no export of Label Studio: export as JSON or JSON-MIN",
        )
    names: dict[str, None] = {}
    for path in exports:
        for task, where in _tasks(path):
            is_full = "annotations" in task or "completions" in task
            names |= (_full if is_full else _minimal)(task, choice, where, segments)
    if choice is not None and choice not in names:
        raise one_of(choice, list(names), f"control of {source}")
    return segments.listing()


def _tasks(path: Path) -> Iterator[tuple[Mapping[str, Any], Place]]:
    try:
        tasks = parse_json(read_label_text(path, _WHAT))
    except (ValueError, RecursionError) as error:
        raise InputError(
            "file-unreadable", f"{_WHAT} {path} cannot be read ({error}): export it again"
        ) from None
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(
            "wrong-format", f"{path} is not a list of tasks: export as JSON or JSON-MIN"
        )
    for number, task in enumerate(tasks, 1):
        yield task, Place(path, f"task {task.get('id', number)}")


def _full(
    task: Mapping[str, Any], choice: str | None, where: Place, segments: Segments
) -> dict[str, None]:
    """Add a task of the export "JSON", and return the names of its controls."""
    given = task.get("annotations", task.get("completions"))
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise InputError(
            "wrong-format", f"{where} lists no annotations: export as JSON, not as a summary"
        )
    completed = [one for one in given if not one.get("was_cancelled")]
    for _ in range(len(given) - len(completed)):
        segments.ignore(where, _CANCELLED)
    if not completed:
        segments.ignore(where, _UNLABELLED)
        return {}
    chosen = [one for one in completed if one.get("ground_truth")] or completed
    names: dict[str, None] = {}
    for position, annotation in enumerate(chosen, 1):
        place = Place(where.file, f"{where.entry} annotation {annotation.get('id', position)}")
        results = annotation.get("result")
        if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
            raise InputError("bad-list", f"{place} has no list of results: export it again")
        recording: dict[str, Recording] = {}
        for one in results:
            if one.get("type") in _UNUSED or not isinstance(one.get("value"), dict):
                segments.ignore(place, _OTHER)
                continue
            name, to_name = str(one.get("from_name", "")), str(one.get("to_name", ""))
            names[name] = None
            if choice not in (None, name):
                continue
            if to_name not in recording:
                recording[to_name] = _recording(task.get("data"), to_name, place, segments)
            _add(one["value"], recording[to_name], place, segments, position)
    return names


def _minimal(
    task: Mapping[str, Any], choice: str | None, where: Place, segments: Segments
) -> dict[str, None]:
    """Add a task of the export "JSON-MIN", and return the names of its possible controls.

    A text may be data of the task or a single choice: it is a class only if it is named.
    """
    fields = {name: value for name, value in task.items() if name not in _MINIMAL}
    texts = [name for name, value in fields.items() if isinstance(value, str)]
    data = {name: fields[name] for name in texts if name != choice}
    annotator = task.get("annotation_id", 0)
    found = False
    names: dict[str, None] = {}
    for name, value in fields.items():
        if name in data or not isinstance(value, (str, list, dict)):
            continue
        names[name] = None
        if choice not in (None, name):
            continue
        recording = _recording(data, "", where, segments)
        for one in _as_values(value):
            found = True
            _add(one, recording, where, segments, annotator)
    if not found and choice is None and len(texts) > 1:
        raise InputError(
            "missing-option",
            f"{where}: JSON-MIN does not tell classes from data: name the field with --format "
            f"label-studio/NAME ({', '.join(texts)}), or export as JSON",
        )
    if not found:
        segments.ignore(where, _UNLABELLED)
    return names


def _as_values(value: str | list[Any] | dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the values of a field of JSON-MIN in the form of the full export."""
    if isinstance(value, str):
        yield {"choices": [value]}
    elif isinstance(value, dict):
        yield value
    elif all(isinstance(one, dict) for one in value):
        yield from value
    elif value:
        yield {"taxonomy": value}


def _add(
    value: Mapping[str, Any],
    recording: Recording,
    where: Place,
    segments: Segments,
    annotator: object,
) -> None:
    """Add the regions of a value, or its choices for the whole recording."""
    parts = parts_of(value, where, lambda: segments.recordings.frame_rate(recording, where))
    if parts is None:
        segments.ignore(where, _OTHER)
        return
    for part in parts:
        segments.add(recording, part.start_s, part.end_s, part.labels, where, annotator=annotator)


def _recording(data: object, to_name: str, where: Place, segments: Segments) -> Recording:
    """Find the recording of a task.

    Raises:
        InputError: If the data of the task name no file, or several.
    """
    texts = {
        str(name): value
        for name, value in (data.items() if isinstance(data, dict) else ())
        if isinstance(value, str) and value.strip()
    }
    files = [name for name, value in texts.items() if _is_media(value)]
    candidates = [to_name] if to_name in files else files or list(texts)
    if len(candidates) != 1:
        what = f"several fields ({', '.join(candidates)})" if candidates else "no field"
        raise InputError(
            "bad-list",
            f"{where} has {what} that may be its recording: give each task one media file, or "
            "name the object in the labelling interface like its field",
        )
    return segments.recordings.find((texts[candidates[0]],), where.file, where)


def _is_media(text: str) -> bool:
    path = text.partition("?d=")[2] or text.partition("?")[0]
    return Path(path).suffix.lower() in MEDIA_SUFFIXES
