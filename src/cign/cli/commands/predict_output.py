"""Machine-readable output of `cign predict`: JSON, JSON lines, CSV; and closed pipes."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cign.utils.terminal import say


def write_json(predictions: Iterable[Any]) -> None:
    """One array; each object is written as soon as it is available."""
    say("[")
    is_first = True
    for one in predictions:
        _write(("  " if is_first else ",\n  ") + _as_json(one))
        is_first = False
    say("]" if is_first else "\n]")


def write_json_lines(predictions: Iterable[Any]) -> None:
    """One object per line, written as soon as it is available."""
    for one in predictions:
        _write(_as_json(one) + "\n")


def write_csv(predictions: Iterable[Any], columns: Sequence[str] | None = None) -> None:
    """A header and one row per prediction, written as soon as it is available."""
    from cign.inference.prediction import COLUMNS

    writer = csv.DictWriter(sys.stdout, columns or COLUMNS, lineterminator="\n")
    writer.writeheader()
    for one in predictions:
        writer.writerow(one.to_row())
        sys.stdout.flush()


def _as_json(prediction: Any) -> str:
    # JSON is UTF-8. For a stream of another encoding, use the equivalent ASCII form.
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    return json.dumps(prediction.to_dict(), ensure_ascii=encoding != "utf8", allow_nan=False)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextlib.contextmanager
def outliving_readers() -> Iterator[None]:
    """Continue when the reader of standard output or standard error closes the pipe.

    Later output is discarded.
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
        """Write the text, or discard it if the pipe is closed."""
        try:
            self._stream.write(text)
        except BrokenPipeError:
            self._drop()
        return len(text)

    def flush(self) -> None:
        """Flush, or discard the buffer if the pipe is closed."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        """Redirect the stream to the null device, so that its buffer is discarded too."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)
