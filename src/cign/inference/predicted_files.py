"""Which files of watched folders were predicted: a small file that survives restarts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from cign.errors import InputError
from cign.utils.files import file_lock, replacing

_HEADER = {"cign": "predicted files", "format": 1}

# Size in bytes and time of the last change in nanoseconds: another content is another file.
Signature = tuple[int, int]


class PredictedFiles:
    """The files that were predicted, with the size and the time of change that they had.

    One line per file is appended as soon as its prediction was written. A line that was cut off by
    a crash is ignored: that file is predicted once more.

    Args:
        path: The file; None keeps the record in memory.
        folders: The watched folders. Files that are gone from them are left out of the file.

    Raises:
        InputError: If the file is of another kind, or another process uses it.
    """

    def __init__(self, path: Path | None, folders: Iterable[Path] = ()) -> None:
        self._path = path
        self._known: dict[str, Signature] = {}
        self._file: TextIO | None = None
        self._opened = ExitStack()
        if path is None:
            return
        refusal = f"--state {path} is in use by another process: give it a file of its own"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._opened.enter_context(file_lock(path.with_name(f".{path.name}.lock"), refusal))
        except OSError as error:
            raise InputError(
                "bad-output", f"--state {path} cannot be written: {error.strerror}; name another"
            ) from None
        try:
            self._load(path)
            self._write(path, [folder for folder in map(Path.absolute, folders) if folder.is_dir()])
            self._file = self._opened.enter_context(path.open("a", encoding="utf-8"))
        except BaseException:
            self._opened.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, name: str) -> Signature | None:
        """The signature that a file had when it was predicted; None if it was not."""
        return self._known.get(_key(name))

    def add(self, name: str, signature: Signature) -> None:
        """Record that a file was predicted."""
        name = _key(name)
        self._known[name] = signature
        if self._file is not None:
            self._file.write(_line(name, signature))
            self._file.flush()

    def _load(self, path: Path) -> None:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError):
            lines = ["?"]
        for number, text in enumerate(lines):
            try:
                value = json.loads(text)
                if number == 0:
                    if value != _HEADER:
                        raise ValueError
                else:
                    self._known[os.fsdecode(bytes.fromhex(value[0]))] = value[1], value[2]
            except (ValueError, TypeError, IndexError, KeyError):
                if number == 0:
                    raise InputError(
                        "wrong-format",
                        f"--state {path} is not a record of predicted files of this version: name "
                        "a new file, or delete it to predict all files again",
                    ) from None

    def _write(self, path: Path, folders: list[Path]) -> None:
        """Write the record without repeated lines and without files that are gone."""
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write(json.dumps(_HEADER) + "\n")
            for name, signature in list(self._known.items()):
                is_inside = any(Path(name).is_relative_to(folder) for folder in folders)
                if is_inside and not os.path.lexists(name):
                    del self._known[name]
                else:
                    file.write(_line(name, signature))


def _key(name: str) -> str:
    # Absolute, so that a restart in another folder finds the same files.
    return str(Path(name).absolute())


def _line(name: str, signature: Signature) -> str:
    # File names are bytes, which need not be UTF-8.
    return json.dumps([os.fsencode(name).hex(), *signature]) + "\n"
