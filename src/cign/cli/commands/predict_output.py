"""What `cign predict` writes for programs: JSON, JSON lines, CSV; and readers that leave early."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from cign.utils.terminal import say


def write_json(predictions: Iterable[Any]) -> None:
    """One array, each object written as soon as it is there."""
    say("[")
    is_first = True
    for one in predictions:
        _write(("  " if is_first else ",\n  ") + _as_json(one))
        is_first = False
    say("]" if is_first else "\n]")


def write_json_lines(predictions: Iterable[Any]) -> None:
    """One object on each line, written as soon as it is there."""
    for one in predictions:
        _write(_as_json(one) + "\n")


def write_csv(predictions: Iterable[Any]) -> None:
    """One row for each prediction below a header, written as soon as it is there."""
    from cign.inference.prediction import COLUMNS

    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for one in predictions:
        writer.writerow(one.to_row())
        sys.stdout.flush()


def _as_json(prediction: Any) -> str:
    # JSON is UTF-8; a stream of another encoding takes its ASCII form, which means the same.
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    return json.dumps(prediction.to_dict(), ensure_ascii=encoding != "utf8", allow_nan=False)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextlib.contextmanager
def outliving_readers() -> Iterator[None]:
    """Go on when whoever reads standard output or standard error leaves early.

    What is written from then on is dropped.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Outliving(stream) for stream in before)
    try:
        yield
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        sys.stdout, sys.stderr = before


class _Outliving:
    """A text stream that never raises `BrokenPipeError`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or drop the text if nobody reads it."""
        try:
            self._stream.write(text)
        except BrokenPipeError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Flush, or drop what is left if nobody reads it."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        """Point the stream at nothing, so that what it still holds goes there too."""
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self._stream.fileno())
        os.close(nothing)
