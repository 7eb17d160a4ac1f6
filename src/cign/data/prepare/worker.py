"""A process that decodes clips: tasks come as lines of JSON, answers go as lines of JSON.

It is started as a program of its own and not by multiprocessing, so that nothing of the calling
program runs again in it, torch is never imported, and a codec that crashes takes no more than
the file it was working on. It ends when its input does, that is with the process that started it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from cign.data.arrays import RowWriter
from cign.data.media.decode import Decoded, MediaError, MediaSpec, decode
from cign.data.prepare.near_duplicates import sound_words
from cign.data.shards import as_file

# What a decoding process may take for itself: a damaged header can ask for any amount. A film of
# 7680x4320 in 10 bits took 0.9 GB.
MAX_DATA_BYTES = 4 * 2**30

Task = dict[str, Any]
Answer = dict[str, Any]


class Decoder:
    """Decodes one task after another and writes the results into the arrays of a store.

    Args:
        spec: What to take from each clip.
        folder: Where ``frames.npy`` and ``audio.npy`` lie; if absent nothing is written, and
            answers carry what comparing sounds needs (`cign.data.prepare.near_duplicates`).
    """

    def __init__(self, spec: MediaSpec, folder: Path | None) -> None:
        self._spec = spec
        self._frames = None if folder is None else RowWriter(folder / "frames.npy")
        self._audio = None if folder is None else RowWriter(folder / "audio.npy")

    def __call__(self, task: Task) -> Answer:
        """Decode a clip.

        Args:
            task: ``row, path, start_s, end_s``.

        Returns:
            ``row, conditions`` and, for a usable clip, ``audio_ok, visual_ok, silent, still,
            duration_s, window_start_s, window_end_s, content_hash``; or ``row, full`` with the
            reason if it could not be written.
        """
        row = task["row"]
        try:
            with as_file(Path(task["path"])) as path:
                decoded = decode(path, self._spec, start_s=task["start_s"], end_s=task["end_s"])
        except MediaError as error:
            return failed(row, error.condition, error.detail)
        except Exception as error:
            # Whatever a library makes of a strange file concerns this file alone.
            return failed(row, "unreadable", f"{type(error).__name__}: {error}".splitlines()[0])
        try:
            if self._frames is not None and self._audio is not None:
                self._frames.write(row, decoded.frames[None])
                self._audio.write(row, decoded.audio[None])
        except OSError as error:
            return {"row": row, "full": error.strerror}  # whatever fails there, it is not the clip
        return {
            **self._listened(decoded),
            "row": row,
            "conditions": list(decoded.conditions),
            "audio_ok": decoded.has_audio,
            "visual_ok": decoded.has_visual,
            "silent": decoded.silent,
            "still": decoded.still,
            "duration_s": decoded.duration_s,
            "window_start_s": decoded.start_s,
            "window_end_s": decoded.end_s,
            "content_hash": decoded.content_hash,
        }

    def _listened(self, decoded: Decoded) -> Answer:
        """The words of a clip's sound, where it is not written anywhere."""
        if self._audio is not None or not decoded.has_audio:
            return {}
        words, loud = sound_words(decoded.audio, self._spec.rate_hz)
        return {"words": words.tolist(), "loud": loud.tolist()}


def failed(row: int, condition: str, detail: str) -> Answer:
    """The answer for a clip that is left out."""
    return {"row": row, "conditions": [[condition, detail]]}


def limit_memory(num_bytes: int) -> None:
    """Have this process find no more memory beyond so many bytes of its own.

    Files that are mapped for reading do not count, so that a store may be of any size. A lower
    limit that the process was started with stays. Where the system does not count (macOS), nothing
    is limited.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    for limit in (soft, hard):
        if limit != resource.RLIM_INFINITY:
            num_bytes = min(num_bytes, limit)
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, hard))


def main() -> None:
    """Serve the process that started this one until its end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that started us decides
    limit_memory(MAX_DATA_BYTES)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a codec prints must not end up among the answers
    setup = json.loads(sys.stdin.readline())
    folder = None if setup["folder"] is None else Path(setup["folder"])
    decoder = Decoder(MediaSpec(**setup["spec"]), folder)
    for line in sys.stdin:
        answers.write(json.dumps(decoder(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
