"""Journal of preparing: one line per finished clip, appended when the clip is done.

Each line ends with the CRC-32 of its preceding text. A line that does not match its CRC-32 is
ignored, and its clip is decoded again.
"""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import IO, Any

from cign.data.prepare.worker import Answer
from cign.errors import InputError


class Journal:
    """An append-only file of answers that starts with the fingerprint of list and settings.

    Args:
        path: The file; it is created if it is missing.
        fingerprint: Hash of the list and the settings.

    Raises:
        InputError: If the file has another fingerprint, or its first line is damaged.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path = path
        self.answers: dict[int, Answer] = {}
        self.is_new = True
        whole = path.read_bytes() if path.exists() else b""
        # Drop a last line without a line end: the process was killed while writing it.
        whole = whole[: whole.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if lines:
            if _value(lines[0]) != {"fingerprint": fingerprint}:
                raise InputError(
                    "resume-mismatch",
                    f"store {path.parent} was started from another list or with other settings: "
                    "use another folder, or finish this store with its original command",
                )
            self.is_new = False
            for answer in filter(None, map(_value, lines[1:])):
                self.answers[answer["row"]] = answer
        self._file: IO[bytes] = path.open("ab")
        self._file.truncate(len(whole))
        if not lines:
            self._append({"fingerprint": fingerprint})

    def add(self, answer: Answer) -> None:
        """Record the answer for a finished clip."""
        self.answers[answer["row"]] = answer
        self._append(answer)

    def _append(self, value: dict[str, Any]) -> None:
        text = json.dumps(value).encode()
        self._file.write(b"%s\t%08x\n" % (text, zlib.crc32(text)))
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def remove(self) -> None:
        """Remove the file after all clips are finished."""
        self._path.unlink(missing_ok=True)


def _value(line: bytes) -> dict[str, Any] | None:
    """Parse a line; return None if it is damaged."""
    text, _, check = line.rpartition(b"\t")
    if check != b"%08x" % zlib.crc32(text):
        return None
    value: dict[str, Any] = json.loads(text)
    return value
