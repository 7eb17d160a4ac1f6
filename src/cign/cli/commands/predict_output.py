"""Machine-readable output of `cign predict`: JSON, JSON lines, CSV; and closed pipes."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import methodcaller
from typing import Any

from cign.utils.terminal import say


def is_requested(options: Any) -> bool:
    """Whether the output is for programs: ``--json``, ``--jsonl`` or ``--csv``."""
    return bool(options.json or options.jsonl or options.csv)


def write(
    found: Iterable[Any],
    options: Any,
    columns: Sequence[str],
    *,
    as_dict: Callable[[Any], Mapping[str, Any]] = methodcaller("to_dict"),
    as_row: Callable[[Any], Mapping[str, Any]] = methodcaller("to_row"),
) -> None:
    """Write predictions or segments for programs, each as soon as it is available.

    Args:
        found: What is written.
        options: ``--json``: an array; ``--jsonl``: an object per line; ``--csv``: a header and a
            row each.
        columns: The header of CSV.
        as_dict: The plain values of one, for JSON.
        as_row: The flat row of one, for CSV.
    """
    if options.csv:
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        for one in found:
            writer.writerow(as_row(one))
            sys.stdout.flush()
    elif options.jsonl:
        for one in found:
            _write(_as_json(as_dict(one)) + "\n")
    else:
        say("[")
        is_first = True
        for one in found:
            _write(("  " if is_first else ",\n  ") + _as_json(as_dict(one)))
            is_first = False
        say("]" if is_first else "\n]")


def _as_json(values: Mapping[str, Any]) -> str:
    # JSON is UTF-8. For a stream of another encoding, use the equivalent ASCII form.
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    return json.dumps(values, ensure_ascii=encoding != "utf8", allow_nan=False)


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
