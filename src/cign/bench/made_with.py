"""Which version of the code a run was made with, so that a table can say what another one made."""

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
    """Hash of the code that a run of a method rests on, see `cign.utils.code_hash`.

    Raises:
        InputError: If there is no such method.
    """
    cls = method_class(method)
    if cls.__module__.startswith("cign."):
        return code_hash(["cign.training.loop", cls.__module__])
    return code_hash(["cign.training.loop"], [Path(inspect.getfile(cls))])


def note_code(folder: Path, method: str, *, goes_on: bool) -> None:
    """Note that a run is made with the code as it is now.

    Args:
        folder: Of the run.
        method: Its method.
        goes_on: Whether what another process made of it is gone on with; that one's code is then
            kept beside this one's.
    """
    codes = made_with(folder) if goes_on else ()
    write_codes(folder, tuple(dict.fromkeys((*codes, code_of(method)))))


def write_codes(folder: Path, codes: tuple[str, ...]) -> None:
    """Write a run's hashes; more than one if it was stopped and gone on with by other code."""
    write_json(folder / FILE, {"code": list(codes)})


def made_with(folder: Path) -> tuple[str, ...]:
    """The hashes of a run; none if it was made before they were noted."""
    path = folder / FILE
    return tuple(read_json(path, "code of the run")["code"]) if path.exists() else ()


def is_of_this_code(folder: Path, method: str) -> bool:
    """Whether a run was made, from its begin to its end, with the code as it is now."""
    return made_with(folder) == (code_of(method),)
