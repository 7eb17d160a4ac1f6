"""Bodies of requests as files: multipart forms, and raw bodies."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cign.serving.errors import HttpError
from cign.utils.file_text import escape_name

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_MAX_NAME = 255
_PIECE = 2**20
_FEW_FIELDS = 8


@dataclass(frozen=True)
class Upload:
    """An uploaded file.

    Attributes:
        name: The client's name for it, without folders; only shown, never part of a path.
        path: Where it is stored.
    """

    name: str
    path: Path


@dataclass(frozen=True)
class Form:
    """The files and the text fields of a multipart body."""

    files: list[Upload]
    fields: dict[str, list[str]]


def shown_name(name: str | None) -> str:
    """The last part of a client's file name, printable, of at most 255 characters."""
    last = re.split(r"[/\\]", name or "")[-1]
    return escape_name(last)[:_MAX_NAME] or "upload"


def suffix_of(name: str) -> str:
    """The suffix of a name in lower case; empty if it is unusual."""
    suffix = Path(name[-_MAX_NAME:].replace("\0", "")).suffix
    return suffix.lower() if _SUFFIX.fullmatch(suffix) else ""


def new_file(folder: Path, suffix: str = "") -> Path:
    """A path in a folder that no client can choose or guess."""
    return folder / f"{secrets.token_hex(16)}{suffix}"


@asynccontextmanager
async def received_form(
    request: Any, folder: Path, *, field: str, max_files: int, others: tuple[str, ...] = ()
) -> AsyncIterator[Form]:
    """Receive a multipart form; its files are removed at the end.

    Args:
        request: The request of Starlette.
        folder: Folder for the files.
        field: Name of the field with files.
        max_files: Largest number of them.
        others: Names of the text fields that are accepted.

    Raises:
        HttpError: If the body is no such form.
    """
    from starlette.concurrency import run_in_threadpool
    from starlette.datastructures import UploadFile

    files: list[Upload] = []
    fields: dict[str, list[str]] = {}
    async with request.form(max_files=max_files, max_fields=_FEW_FIELDS) as form:
        try:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile) and name == field:
                    shown = shown_name(value.filename)
                    path = new_file(folder, suffix_of(shown))
                    files.append(Upload(shown, path))
                    if (value.size or 0) <= _PIECE:  # in memory: quicker than another thread
                        _copy(value.file, path)
                    else:
                        await run_in_threadpool(_copy, value.file, path)
                elif not isinstance(value, UploadFile) and name in others:
                    fields.setdefault(name, []).append(value)
                else:
                    raise _other_field(name, field, others)
            if not files:
                raise HttpError(
                    *(400, "bad-request"),
                    f"the form has no file: send it in the field {field!r}, for example with "
                    f"`curl -F {field}=@clip.mp4`",
                )
            yield Form(files, fields)
        finally:
            for one in files:
                one.path.unlink(missing_ok=True)


def _other_field(name: str, field: str, others: tuple[str, ...]) -> HttpError:
    known = ", ".join(map(repr, (field, *others)))
    given = repr(escape_name(name)[:40])
    return HttpError(
        400, "bad-request", f"unknown form field {given}: send files as {field!r}; known: {known}"
    )


def _copy(source: Any, path: Path) -> None:
    with path.open("xb") as target:
        shutil.copyfileobj(source, target, _PIECE)


@asynccontextmanager
async def received_body(request: Any, folder: Path, suffix: str) -> AsyncIterator[Path]:
    """Receive a raw body as a file, which is removed at the end."""
    from starlette.concurrency import run_in_threadpool

    path = new_file(folder, suffix)
    try:
        with path.open("xb") as file:
            async for piece in request.stream():
                await run_in_threadpool(file.write, piece)
        yield path
    finally:
        path.unlink(missing_ok=True)


async def small_body(request: Any, max_bytes: int) -> bytes:
    """Receive a small raw body.

    Raises:
        HttpError: If it has more than ``max_bytes``.
    """
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > max_bytes:
            raise HttpError(
                413, "too-large", f"a JSON body may have {max_bytes:,} bytes: send a shorter one"
            )
    return body
