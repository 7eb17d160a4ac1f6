"""Files of an audit: a table of all clips, and a page on which labels are corrected."""

from __future__ import annotations

import base64
import csv
import io
import wave
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.clips import Clip
from cign.errors import InputError
from cign.labelling.auditing import ADD, COLUMNS, REMOVE, Audit, Doubt
from cign.report.clips import jpeg
from cign.report.html import fill
from cign.updating.several_stores import LearnedMedia
from cign.utils.file_text import escape_name
from cign.utils.files import write_text

TABLE, PAGE = "audit.csv", "audit.html"
LEAST_ON_PAGE, MOST_ON_PAGE = 24, 60
"""Doubts on the page: the suspicious ones, but at least and at most so many, about 100 kB each."""
_FRAME_PX = 320
_MOST_HZ = 16_000  # of the sounds on the page: enough to recognise them


def check_audit_out(out: Path) -> None:
    """Check the place for the files before anything is computed.

    Raises:
        InputError: If it has another suffix than .csv, or is a file where a folder is needed.
    """
    if out.suffix.lower() == ".csv":
        if out.is_dir():
            raise InputError(
                "bad-output", f"--out {out} is a folder: name a file, or leave .csv out"
            )
        return
    if out.suffix or (out.exists() and not out.is_dir()):
        raise InputError(
            "bad-output", f"--out {out} is neither a .csv file nor a folder: name one of them"
        )


def write_audit(
    audit: Audit, out: Path, classes: tuple[str, ...], media: LearnedMedia | None
) -> None:
    """Write the table, and for a folder also the page.

    Args:
        audit: The audit.
        out: A place that `check_audit_out` accepts.
        classes: The classes of the model.
        media: Frames and audio of the clips; None for features, whose page shows neither.
    """
    if out.suffix.lower() == ".csv":
        write_text(out, table_of(audit))
        return
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / TABLE, table_of(audit))
    write_text(out / PAGE, render_page(audit, classes, media))


def table_of(audit: Audit) -> str:
    """All doubts as CSV, the most suspicious first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in audit.rows():
        writer.writerow({**row, "is_suspicious": str(row["is_suspicious"]).lower()})
    return text.getvalue()


def render_page(audit: Audit, classes: tuple[str, ...], media: LearnedMedia | None) -> str:
    """The page: the most doubtful labels with frame, sound and a choice of labels.

    Args:
        audit: The audit.
        classes: Labels to choose from.
        media: Frames and audio of the clips.
    """
    number = min(max(len(audit.suspicious), LEAST_ON_PAGE), MOST_ON_PAGE)
    shown = audit.doubts[:number]
    numbers = np.array([one.clip for one in shown], dtype=np.int64)
    frames, sounds = _shown_media(numbers, media)
    assets = resources.files("cign.report") / "assets"
    return fill(
        "audit.html.j2",
        title="Labels to check",
        num_clips=len(audit.clips),
        num_suspicious=len(audit.suspicious),
        num_not_judged=len(audit.not_judged),
        left_out=audit.left_out,
        num_classes=audit.num_classes,
        classes=classes,
        items=[
            _item(number, one, audit.clips[one.clip], frames[number], sounds[number])
            for number, one in enumerate(shown)
        ],
        more_style=(assets / "audit.css").read_text(encoding="utf-8"),
        more_script=(assets / "audit.js").read_text(encoding="utf-8"),
    )


def _item(
    number: int, one: Doubt, clip: Clip, frame: str | None, sound: str | None
) -> dict[str, Any]:
    """A doubt on the page, with the labels of the clip for each answer."""
    labels = list(clip.labels)
    if one.kind == ADD:
        answer = [*labels, one.suggested]
    elif one.kind == REMOVE:
        answer = [name for name in labels if name != one.label]
    else:
        answer = [one.suggested if name == one.label else name for name in labels]
    return {
        "number": number + 1,
        "kind": one.kind,
        "label": one.label,
        "suggested": one.suggested,
        "score": one.score,
        "support": one.support if one.kind != ADD else None,
        "suggested_support": one.suggested_support,
        "path": escape_name(str(clip.path)),
        "clip": clip.id,
        "labels": labels,
        "answer": answer,
        "split": clip.split,
        "source": clip.source,
        "start_s": "" if clip.start_s is None else clip.start_s,
        "end_s": "" if clip.end_s is None else clip.end_s,
        "frame": frame,
        "sound": sound,
    }


def _shown_media(
    numbers: NDArray[np.int64], media: LearnedMedia | None
) -> tuple[list[str | None], list[str | None]]:
    """A frame and the sound of some clips as data URLs; None where a clip has none."""
    if media is None or len(numbers) == 0:
        return [None] * len(numbers), [None] * len(numbers)
    frames: list[str | None] = []
    sounds: list[str | None] = []
    for number in numbers:
        row = np.array([number])
        frames.append(jpeg(media.frames(row)[0], _FRAME_PX) if media.has_visual[number] else None)
        has_audio = media.has_audio[number]
        sounds.append(wav(media.audio(row)[0], media.spec.rate_hz) if has_audio else None)
    return frames, sounds


def wav(audio: NDArray[np.int16], rate_hz: int) -> str:
    """Encode audio, int16 [L], as a WAV file of at most 16 kHz in a data URL."""
    factor = max(1, -(-rate_hz // _MOST_HZ))
    means = audio[: len(audio) // factor * factor].reshape(-1, factor).mean(axis=1)
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz // factor)
        file.writeframes(np.rint(means).astype("<i2").tobytes())
    return f"data:audio/wav;base64,{base64.b64encode(buffer.getvalue()).decode()}"
