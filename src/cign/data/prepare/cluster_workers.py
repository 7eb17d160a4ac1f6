"""Decode on a Ray cluster: machines decode clips and send them back, and one machine writes them.

Each call decodes some clips in a separate process, as `cign.data.prepare.workers` does, so that
crashes, hangs and damaged files have the same effect. Only the machine that writes needs access
to the store.
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
from cign.data.prepare.worker import Answer
from cign.data.prepare.workers import decode_all
from cign.data.shards import media_exists
from cign.data.store import frames_shape
from cign.errors import RunError
from cign.utils.cluster import call_all, connected, num_cpus
from cign.utils.pool import Task

# Clips per call: large enough to amortise the start of a decoder, small enough that the failure
# of a machine loses little work.
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
        RunError: If a machine cannot access a file that this machine can access, has no free
            space, or fails repeatedly.
    """
    chunks = [list(tasks[i : i + CHUNK]) for i in range(0, len(tasks), CHUNK)]
    frames = None if folder is None else RowWriter(folder / "frames.npy")
    audio = None if folder is None else RowWriter(folder / "audio.npy")
    with connected() as ray:
        calls = [(chunk, spec.to_dict(), timeout_s) for chunk in chunks]
        limit = num_workers or num_cpus(ray)
        for number, machine, decoded in call_all(ray, decode_chunk, calls, limit=limit):
            for task, (answer, clip_frames, samples) in zip(chunks[number], decoded, strict=True):
                _check_access(task, answer, machine)
                if frames is not None and audio is not None and is_usable(answer):
                    frames.write(answer["row"], clip_frames[None])
                    audio.write(answer["row"], samples[None])
                yield answer


def decode_chunk(
    tasks: Sequence[Task], spec_fields: dict[str, Any], timeout_s: float
) -> list[tuple[Answer, Any, Any]]:
    """Decode some clips on this machine.

    Returns:
        The answer, frames and audio of each task, in order.
    """
    spec = MediaSpec(**spec_fields)
    with tempfile.TemporaryDirectory(prefix="cign-") as name:
        folder = Path(name)
        create_array(folder / "frames.npy", frames_shape(len(tasks), spec), "uint8")
        create_array(folder / "audio.npy", (len(tasks), spec.num_samples), "int16")
        local_tasks = [{**task, "row": row} for row, task in enumerate(tasks)]
        answers = decode_all(local_tasks, spec, folder, num_workers=1, timeout_s=timeout_s)
        by_row = {answer["row"]: answer for answer in answers}
        if any("full" in answer for answer in by_row.values()):
            raise RunError(
                "disk-full",
                f"machine {platform.node()} has no free space for decoded clips in "
                f"{tempfile.gettempdir()}: free some space, or set TMPDIR to another disk",
            )
        frames, audio = (
            np.load(folder / f"{kind}.npy", allow_pickle=False) for kind in ("frames", "audio")
        )
    return [
        ({**by_row[row], "row": task["row"]}, frames[row], audio[row])
        for row, task in enumerate(tasks)
    ]


def _check_access(task: Task, answer: Answer, machine: str) -> None:
    """Reject the answer of a machine without access to the media.

    Its clips would otherwise be reported as missing.
    """
    is_missing = any(condition == "missing" for condition, _ in answer.get("conditions", ()))
    if is_missing and media_exists(Path(task["path"])):
        raise RunError(
            "process-failed",
            f"machine {machine} cannot access {task['path']}, but this machine can: mount the "
            "media under the same path on all machines, then run the same command again",
        )
