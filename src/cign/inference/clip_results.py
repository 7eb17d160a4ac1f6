"""Per-clip results of an evaluation, as CSV, Parquet or JSON.

Legend: N clips, C classes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.clips import Clip
from cign.data.formats.label_texts import NONE
from cign.errors import InputError
from cign.utils.file_text import escape_name
from cign.utils.files import replacing, write_text

SUFFIXES = (".csv", ".parquet", ".json")
_MODALITIES = ("audio", "visual")

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


def check_results_file(path: Path) -> None:
    """Check the path of the results file before anything is computed.

    Raises:
        InputError: If its suffix is not in `SUFFIXES`, or it is a folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            "bad-output",
            f"--out {path} has no known suffix: use {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
        )
    if path.is_dir():
        raise InputError(
            "bad-output", f"--out {path} is a folder: name a file, for example {path}/results.csv"
        )


@dataclass(frozen=True, kw_only=True)
class ClipResults:
    """Predictions of a model for each clip of an evaluation.

    Attributes:
        clips: N clips.
        class_names: C classes of the model.
        probabilities: For audio, visual and audio_visual, [N, C].
        unknown: Unknown scores, 0..1, [N].
        is_unknown: Whether each score is above the model's threshold, [N]; None without one.
        has_audio: Whether each clip has an audio track, [N].
        has_visual: Whether each clip has a video track, [N].
    """

    clips: tuple[Clip, ...]
    class_names: tuple[str, ...]
    probabilities: dict[str, Floats]
    unknown: Floats
    is_unknown: Flags | None
    has_audio: Flags
    has_visual: Flags

    def rows(self) -> Iterator[dict[str, Any]]:
        """One mapping of plain values per clip; probabilities are nested by class.

        ``path`` is text, see `cign.utils.file_text`. ``correct`` is None for a clip of unknown
        classes, and for background, whose ``true_label`` is ``none``. A modality's label and
        probability are None if the clip lacks the modality.
        """
        known = set(self.class_names)
        best = {name: values.argmax(axis=1) for name, values in self.probabilities.items()}
        for i, clip in enumerate(self.clips):
            chosen = int(best["audio_visual"][i])
            label = self.class_names[chosen]
            has = {"audio": bool(self.has_audio[i]), "visual": bool(self.has_visual[i])}
            row: dict[str, Any] = {
                "path": escape_name(str(clip.path)),
                "clip": clip.id,
                "start_s": clip.start_s,
                "end_s": clip.end_s,
                "split": clip.split,
                "true_label": "|".join(clip.likely_labels) or NONE,
                "predicted_label": label,
                "correct": None
                if known.isdisjoint(clip.likely_labels)
                else label in clip.likely_labels,
                "probability": _plain(self.probabilities["audio_visual"][i, chosen]),
                "unknown": _plain(self.unknown[i]),
                "is_unknown": None if self.is_unknown is None else bool(self.is_unknown[i]),
                "missing": "|".join(name for name in _MODALITIES if not has[name]),
            }
            for name in _MODALITIES:
                column = int(best[name][i])
                row[f"{name}_label"] = self.class_names[column] if has[name] else None
                row[f"{name}_probability"] = (
                    _plain(self.probabilities[name][i, column]) if has[name] else None
                )
            row["probabilities"] = {
                name: _plain(value)
                for name, value in zip(
                    self.class_names, self.probabilities["audio_visual"][i], strict=True
                )
            }
            yield row

    def write(self, path: Path) -> None:
        """Write one row per clip; the suffix selects the format, see `check_results_file`.

        CSV and Parquet have a column ``probability_CLASS`` for each class.
        """
        kind = path.suffix.lower()
        if kind == ".json":
            rows = list(self.rows())
            write_text(path, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        elif kind == ".csv":
            write_text(path, self._csv())
        else:
            self._write_parquet(path)

    def _flat(self) -> Iterator[dict[str, Any]]:
        for row in self.rows():
            nested = row.pop("probabilities")
            yield row | {f"probability_{name}": value for name, value in nested.items()}

    def _csv(self) -> str:
        text = io.StringIO()
        writer: csv.DictWriter[str] | None = None
        for row in self._flat():
            if writer is None:
                writer = csv.DictWriter(text, list(row), lineterminator="\n")
                writer.writeheader()
            writer.writerow({name: _written(value) for name, value in row.items()})
        return text.getvalue()

    def _write_parquet(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = list(self._flat())
        kinds = {"start_s": pa.float64(), "end_s": pa.float64()}
        kinds |= {"correct": pa.bool_(), "is_unknown": pa.bool_()}
        kinds |= {f"{name}_label": pa.string() for name in _MODALITIES}
        kinds |= {f"{name}_probability": pa.float64() for name in _MODALITIES}
        columns = {name: pa.array([row[name] for row in rows], kinds.get(name)) for name in rows[0]}
        with replacing(path) as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")


def joined(parts: Sequence[ClipResults]) -> ClipResults:
    """Concatenate results of one model."""
    first = parts[0]
    flags = [one.is_unknown for one in parts if one.is_unknown is not None]
    return ClipResults(
        clips=tuple(clip for one in parts for clip in one.clips),
        class_names=first.class_names,
        probabilities={
            name: np.concatenate([one.probabilities[name] for one in parts])
            for name in first.probabilities
        },
        unknown=np.concatenate([one.unknown for one in parts]),
        is_unknown=np.concatenate(flags) if flags else None,
        has_audio=np.concatenate([one.has_audio for one in parts]),
        has_visual=np.concatenate([one.has_visual for one in parts]),
    )


def _plain(value: np.floating[Any]) -> float:
    """Round to six decimals, as `cign predict` does; further float32 digits are noise."""
    return round(float(value), 6)


def _written(value: Any) -> Any:
    """A value for CSV: empty for None; ``true`` and ``false`` as in JSON."""
    return str(value).lower() if isinstance(value, bool) else value
