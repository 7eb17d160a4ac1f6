"""Decoding on a Ray cluster: machines decode clips and send them back, one machine writes them.

Each call decodes some clips in a process of its own, as `cign.data.prepare.workers` does, so that
what a crash, a hang or a damaged file comes to is the same. The store need not be seen by the
others.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cign.data.arrays import RowWriter, create_array
from cign.data.media.decode import MediaSpec
from cign.data.prepare.findings import is_usable
from cign.data.prepare.worker import Answer, Task
from cign.data.prepare.workers import decode_all
from cign.data.shards import is_there
from cign.data.store import frames_shape
from cign.errors import RunError
from cign.utils.cluster import call_all, connected, num_cpus

# Enough that starting a decoder counts for little, few enough that little is lost with a machine.
CHUNK = 16


def decode_on_cluster(
    tasks: Sequence[Task],
    spec: MediaSpec,
    folder: Path | None,
    *,
    num_workers: int | None = None,
    timeout_s: float = 300.0,
) -> Iterator[Answer]:
    """Decode clips on a cluster; see `cign.data.prepare.workers.decode_all`.

    Raises:
        RunError: If a machine does not see a file that this one sees, has no room, or dies again
            and again.
    """
    chunks = [list(tasks[i : i + CHUNK]) for i in range(0, len(tasks), CHUNK)]
    frames = None if folder is None else RowWriter(folder / "frames.npy")
    audio = None if folder is None else RowWriter(folder / "audio.npy")
    with connected() as ray:
        calls = [(chunk, spec.to_dict(), timeout_s) for chunk in chunks]
        limit = num_workers or num_cpus(ray)
        for number, (machine, decoded) in call_all(ray, decode_chunk, calls, limit=limit):
            for task, (answer, picture, sound) in zip(chunks[number], decoded, strict=True):
                _check_seen(task, answer, machine)
                if frames is not None and audio is not None and is_usable(answer):
                    frames.write(answer["row"], picture[None])
                    audio.write(answer["row"], sound[None])
                yield answer


def decode_chunk(
    tasks: Sequence[Task], spec_fields: dict[str, Any], timeout_s: float
) -> tuple[str, list[tuple[Answer, Any, Any]]]:
    """Decode some clips on this machine.

    Returns:
        The machine's name, and for each task in order its answer, frames and sound.
    """
    spec = MediaSpec(**spec_fields)
    with tempfile.TemporaryDirectory(prefix="cign-") as name:
        folder = Path(name)
        create_array(folder / "frames.npy", frames_shape(len(tasks), spec), "uint8")
        create_array(folder / "audio.npy", (len(tasks), spec.num_samples), "int16")
        here = [{**task, "row": row} for row, task in enumerate(tasks)]
        answers = decode_all(here, spec, folder, num_workers=1, timeout_s=timeout_s)
        by_row = {answer["row"]: answer for answer in answers}
        if any("full" in answer for answer in by_row.values()):
            raise RunError(
                f"machine {platform.node()} has no room for decoded clips in "
                f"{tempfile.gettempdir()}: free space there, or set TMPDIR"
            )
        frames, audio = (
            np.load(folder / f"{kind}.npy", allow_pickle=False) for kind in ("frames", "audio")
        )
    parts = [
        ({**by_row[row], "row": task["row"]}, frames[row], audio[row])
        for row, task in enumerate(tasks)
    ]
    return platform.node(), parts


def _check_seen(task: Task, answer: Answer, machine: str) -> None:
    """Refuse the answer of a machine that lacks the media: they would pass for missing."""
    is_missing = any(condition == "missing" for condition, _ in answer.get("conditions", ()))
    if is_missing and is_there(Path(task["path"])):
        raise RunError(
            f"machine {machine} does not see {task['path']}, which this one does: mount the media "
            "under the same path on all machines, then run the same command again"
        )
