"""What is already prepared: one line per clip, appended as it is done."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO, Any

from cign.data.worker import Answer
from cign.errors import InputError


class Journal:
    """An append-only file of answers, begun with the fingerprint of the work.

    Args:
        path: The file; it is made if it is missing.
        fingerprint: Of the list and the settings.

    Raises:
        InputError: If the file belongs to other work.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path = path
        self.answers: dict[int, Answer] = {}
        self.is_new = True
        whole = path.read_bytes() if path.exists() else b""
        # A line that was being written when the process was killed has no end.
        whole = whole[: whole.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if lines:
            if json.loads(lines[0]) != {"fingerprint": fingerprint}:
                raise InputError(
                    f"store {path.parent} is being made from another list or with other settings: "
                    "use another folder, or finish that one with the same command"
                )
            self.is_new = False
            for line in lines[1:]:
                answer = json.loads(line)
                self.answers[answer["row"]] = answer
        self._file: IO[bytes] = path.open("ab")
        self._file.truncate(len(whole))
        if not lines:
            self._append({"fingerprint": fingerprint})

    def add(self, answer: Answer) -> None:
        """Note that a clip is done."""
        self.answers[answer["row"]] = answer
        self._append(answer)

    def _append(self, value: dict[str, Any]) -> None:
        self._file.write(json.dumps(value).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def remove(self) -> None:
        """Remove the file: the work is finished."""
        self._path.unlink(missing_ok=True)
