"""Embeddings of the test clips by the final model of a run, and their file format.

The vectors come from `Method.embed`, which uses no true label. If a vector is the concatenation of
audio and visual features, ``split`` is the first visual column. ``mixed`` names the modalities
whose features also depend on the other one (for example the guided visual features of AV-CIL), so
that they are not mistaken for audio-only or visual-only features.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cign.errors import InputError
from cign.utils.files import replacing

FILE = "embeddings.parquet"
# Silhouettes compare all pairs of clips; 2,000 clips estimate them as well as 20,000.
MAX_CLIPS = 2000

_METADATA_KEY = b"cign"
_COLUMNS = ("clip", "labels", "embedding")
_HIGHEST = 1024.0  # largest stored float16 value, far from overflow and underflow


@dataclass(kw_only=True)
class Embeddings:
    """Embeddings of test clips by the final model of a run.

    Attributes:
        clip_ids: M unique clip ids.
        labels: The labels of each clip; some or all may be missing from ``class_names``.
        class_names: C classes in the order in which the run learned them.
        task_sizes: Number of classes of each task; they sum to C.
        vectors: float32 ``[M, E]``.
        split: Columns before it are audio features, the rest are visual features; None if the
            vector cannot be split.
        mixed: Which of ``audio`` and ``visual`` also depend on the other modality.
        num_test: Number of clips the run was tested on; the M clips were sampled from them.

    Raises:
        InputError: If shapes do not match or a value is not finite.
    """

    clip_ids: list[str]
    labels: list[tuple[str, ...]]
    class_names: tuple[str, ...]
    task_sizes: tuple[int, ...]
    vectors: npt.NDArray[np.float32]
    split: int | None = None
    mixed: tuple[str, ...] = ()
    num_test: int = 0

    def __post_init__(self) -> None:
        self.vectors = np.asarray(self.vectors, dtype=np.float32)
        if self.vectors.ndim != 2 or not len(self.vectors) == len(self.clip_ids) == len(
            self.labels
        ):
            raise InputError(
                "bad-value",
                f"embeddings have shape {self.vectors.shape} for {len(self.clip_ids)} clips with "
                f"{len(self.labels)} labels: give one row and one tuple of labels per clip",
            )
        finite = np.isfinite(self.vectors).all(axis=1)
        if not finite.all():
            raise InputError(
                "diverged",
                f"the embedding of clip {self.clip_ids[int(finite.argmin())]} is not finite: "
                "training diverged; lower the learning rate",
            )
        if self.split is not None and not 0 < self.split < self.vectors.shape[1]:
            raise InputError(
                "bad-value",
                f"embeddings of {self.vectors.shape[1]} columns cannot be split at {self.split}: "
                "each modality needs at least one",
            )

    def part(self, modality: str) -> npt.NDArray[np.float32] | None:
        """The columns of a modality; None for a single modality if the vector cannot be split."""
        if modality == "audio_visual":
            return self.vectors
        if self.split is None:
            return None
        return (
            self.vectors[:, : self.split] if modality == "audio" else self.vectors[:, self.split :]
        )

    def save(self, path: Path) -> None:
        """Write a Parquet file, one row per clip, atomically.

        Columns: ``clip`` (string), ``labels`` (list of strings), ``embedding`` (list of float16).
        Multiply the embedding by ``scale`` from the file's metadata, a power of two.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        scale = _scale(self.vectors)
        stored = (self.vectors / scale).astype(np.float16)
        offsets = np.arange(len(stored) + 1, dtype=np.int32) * stored.shape[1]
        about = {
            "format": 1,
            "class_names": list(self.class_names),
            "task_sizes": list(self.task_sizes),
            "dim": stored.shape[1],
            "split": self.split,
            "mixed": list(self.mixed),
            "num_test": self.num_test,
            "scale": scale,
        }
        table = pa.table(
            {
                "clip": pa.array(self.clip_ids, pa.string()),
                "labels": pa.array([list(names) for names in self.labels], pa.list_(pa.string())),
                "embedding": pa.ListArray.from_arrays(
                    pa.array(offsets), pa.array(stored.ravel(), pa.float16())
                ),
            }
        ).replace_schema_metadata({_METADATA_KEY: json.dumps(about).encode()})
        with replacing(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> Embeddings:
        """Load a file written by :meth:`save`.

        Raises:
            InputError: If the file is missing, has another format, or lacks columns.
        """
        import pyarrow as pa

        from cign.data.clip_file import read_columns

        if not path.is_file():
            raise InputError(
                "file-missing", f"embeddings not found: {path} does not exist; train the run again"
            )
        try:
            table = read_columns(path)
            missing = [name for name in _COLUMNS if name not in table.column_names]
            if missing:
                raise _unreadable(path, f"it lacks the columns {', '.join(missing)}")
            about = json.loads((table.schema.metadata or {})[_METADATA_KEY])
            values = table["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            vectors = values.reshape(table.num_rows, int(about["dim"])).astype(np.float32)
            return cls(
                clip_ids=table["clip"].to_pylist(),
                labels=[tuple(names) for names in table["labels"].to_pylist()],
                class_names=tuple(map(str, about["class_names"])),
                task_sizes=tuple(map(int, about["task_sizes"])),
                vectors=vectors * np.float32(about["scale"]),
                split=about["split"],
                mixed=tuple(about["mixed"]),
                num_test=int(about["num_test"]),
            )
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, str(error).splitlines()[0]) from None
        except (KeyError, TypeError, ValueError):
            raise _unreadable(path, "its metadata is missing or invalid") from None


def sample_clips(clip_ids: Sequence[str], most: int = MAX_CLIPS) -> npt.NDArray[np.int64]:
    """Indices of at most ``most`` clips, in ascending order.

    The sample depends only on the ids: it is the same for every method, seed and order of the list.
    """
    if len(clip_ids) <= most:
        return np.arange(len(clip_ids), dtype=np.int64)
    keys = [hashlib.sha256(name.encode()).digest() for name in clip_ids]
    chosen = sorted(range(len(keys)), key=keys.__getitem__)[:most]
    return np.sort(np.asarray(chosen, dtype=np.int64))


def _scale(vectors: npt.NDArray[np.float32]) -> float:
    """A power of two that scales the largest absolute value to at most `_HIGHEST`."""
    highest = float(np.abs(vectors).max(initial=0.0))
    return 2.0 ** math.ceil(math.log2(highest / _HIGHEST)) if highest > 0 else 1.0


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(
        "file-unreadable", f"embeddings {path} cannot be read ({reason}): train the run again"
    )
