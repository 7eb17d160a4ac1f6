"""The format of ``config.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cign.errors import InputError

FORMAT = 2
FILE = "config.yaml"


def check_format(folder: Path, values: Any) -> None:
    """Refuse a configuration of another format.

    Raises:
        InputError: If it is of another format, or not a mapping.
    """
    if not isinstance(values, dict) or not isinstance(values.get("method"), str):
        raise ValueError("it names no method")
    version = values.get("format", 1)  # the first format did not record it
    if type(version) is int and version > FORMAT:
        raise InputError(
            "wrong-version",
            f"run {folder} has format {version}, this version reads up to {FORMAT}: update cign",
        )
    if version != FORMAT:
        raise InputError(
            "wrong-version",
            f"run {folder} has format {version} of an earlier version of cign, this one reads "
            f"{FORMAT}: train it again with `cign train STORE --out RUN --method "
            f"{values['method']}`",
        )
