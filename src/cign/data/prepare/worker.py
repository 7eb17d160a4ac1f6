"""Worker process that decodes clips (see `cign.utils.pool`); it never imports torch."""

from __future__ import annotations

import json
import mmap
import resource
import sys
from pathlib import Path
from typing import Any

from cign.data.arrays import RowWriter
from cign.data.media.decode import Decoded, MediaError, MediaSpec, decode
from cign.data.prepare.near_duplicates import sound_words
from cign.data.shards import as_file
from cign.errors import is_out_of_memory
from cign.utils.pool import Task, serve

# Memory limit of a decoding process: a damaged header can request any amount. A 10-bit video of
# 7680x4320 pixels took 0.9 GB.
MAX_DATA_BYTES = 4 * 2**30
CLIP_BYTES = 2**30

Answer = dict[str, Any]


class Decoder:
    """Decodes one task after another and writes the results into the arrays of a store.

    Args:
        spec: Frames and audio to take from each clip.
        folder: Folder of ``frames.npy`` and ``audio.npy``; if absent, nothing is written, and
            answers contain the audio fingerprint (`cign.data.prepare.near_duplicates`).
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
            duration_s, window_start_s, window_end_s, content_hash``; or ``row, full``, with the
            reason as ``full``, if the clip could not be written; or ``row, out_of_memory`` if this
            process lacks memory, whatever the clip.
        """
        row = task["row"]
        decoded = self._decode(task)
        if not isinstance(decoded, Decoded):
            return decoded
        try:
            if self._frames is not None and self._audio is not None:
                self._frames.write(row, decoded.frames[None])
                self._audio.write(row, decoded.audio[None])
        except OSError as error:
            return {"row": row, "full": error.strerror}  # the clip is not the cause
        return {
            **self._fingerprint(decoded),
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

    def _decode(self, task: Task) -> Decoded | Answer:
        """Decode a clip, or return the answer of one that is left out."""
        row = task["row"]
        try:
            with as_file(Path(task["path"])) as path:
                return decode(path, self._spec, start_s=task["start_s"], end_s=task["end_s"])
        except MediaError as error:
            answer = failed(row, error.condition, error.detail)
            lacked_memory = is_out_of_memory(error)
        except Exception as error:
            # Any other exception of a library on a malformed file affects this file only.
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            answer = failed(row, "unreadable", reason)
            lacked_memory = is_out_of_memory(error)
        # Outside of the handlers, which hold the arrays of the failed decoding.
        if lacked_memory and not has_memory():
            return {"row": row, "out_of_memory": True}
        return answer

    def _fingerprint(self, decoded: Decoded) -> Answer:
        """Return the fingerprint words of a clip's audio if the audio is not written."""
        if self._audio is not None or not decoded.has_audio:
            return {}
        words, loud = sound_words(decoded.audio, self._spec.rate_hz)
        return {"words": words.tolist(), "loud": loud.tolist()}


def failed(row: int, condition: str, detail: str) -> Answer:
    """Return the answer for a clip that is left out."""
    return {"row": row, "conditions": [[condition, detail]]}


def has_memory() -> bool:
    """Whether this process can get the memory that the largest clips take."""
    try:
        mmap.mmap(-1, CLIP_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    return True


def limit_memory(num_bytes: int) -> None:
    """Limit the private memory of this process to a number of bytes.

    Files that are mapped for reading do not count, so that a store may have any size. A lower
    limit that the process was started with remains in force. On systems that do not enforce this
    limit (macOS), memory is not limited.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    for limit in (soft, hard):
        if limit != resource.RLIM_INFINITY:
            num_bytes = min(num_bytes, limit)
    resource.setrlimit(resource.RLIMIT_DATA, (num_bytes, hard))


def main() -> None:
    """Decode for the parent process; the argument gives spec and folder as JSON."""
    limit_memory(MAX_DATA_BYTES)
    setup = json.loads(sys.argv[1])
    folder = None if setup["folder"] is None else Path(setup["folder"])
    decoder = Decoder(MediaSpec(**setup["spec"]), folder)
    serve(lambda task, _: decoder(task))


if __name__ == "__main__":
    main()
