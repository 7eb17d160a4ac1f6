"""Record the code version of a run, so that a table can mark runs of other versions."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path

from cign.methods import method_class
from cign.utils.code_hash import code_hash
from cign.utils.files import read_json, write_json

FILE = "code.json"


@cache
def code_of(method: str) -> str:
    """Hash of the code that a run of a method depends on, see `cign.utils.code_hash`.

    Raises:
        InputError: If there is no such method.
    """
    cls = method_class(method)
    if cls.__module__.startswith("cign."):
        return code_hash(["cign.training.loop", cls.__module__])
    return code_hash(["cign.training.loop"], [Path(inspect.getfile(cls))])


def note_code(folder: Path, method: str, *, goes_on: bool) -> None:
    """Record that a run is made with the current code.

    Args:
        folder: Of the run.
        method: Its method.
        goes_on: Whether the run is resumed; then the hashes of the earlier code are retained.
    """
    codes = made_with(folder) if goes_on else ()
    write_codes(folder, tuple(dict.fromkeys((*codes, code_of(method)))))


def write_codes(folder: Path, codes: tuple[str, ...]) -> None:
    """Write a run's hashes; several if it was interrupted and resumed with different code."""
    write_json(folder / FILE, {"code": list(codes)})


def made_with(folder: Path) -> tuple[str, ...]:
    """The hashes of a run; empty if it was made before hashes were recorded."""
    path = folder / FILE
    return tuple(read_json(path, "code of the run")["code"]) if path.exists() else ()


def is_of_this_code(folder: Path, method: str) -> bool:
    """Whether a run was made entirely with the current code."""
    return made_with(folder) == (code_of(method),)
