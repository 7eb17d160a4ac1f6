"""Routes that change the model: add clips, correct a label, undo."""

from __future__ import annotations

import asyncio
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from cign.errors import InputError
from cign.serving import openapi
from cign.serving.clip_tables import MOST_CLIPS, lay_out
from cign.serving.errors import HttpError
from cign.serving.routes import known_queries, plain_json
from cign.serving.server_state import ServerState
from cign.serving.uploads import Form, received_form

Seen = Annotated[
    int | None,
    Query(ge=1, description="expected current version; status 409 if it is not current"),
]


def teaching_router(state: ServerState) -> APIRouter:
    """The routes that change the model; each answers 403 unless teaching is allowed."""
    router = APIRouter()

    @router.post("/classes/{name}/clips", summary="Add clips of a class", **openapi.ADD)
    async def add(request: Request, name: str, version: Seen = None) -> Response:
        _check(state, request, ("version",))
        async with received_form(
            request, state.folder, field="files", max_files=MOST_CLIPS
        ) as form:
            return await _learned(state, form, [name], version, corrects=False)

    @router.post("/corrections", summary="Correct the label of a clip", **openapi.CORRECT)
    async def correct(request: Request, version: Seen = None) -> Response:
        _check(state, request, ("version",))
        async with received_form(
            request, state.folder, field="file", max_files=1, others=("label",)
        ) as form:
            labels = form.fields.get("label", [])
            if not labels:
                raise HttpError(
                    *(400, "bad-request"),
                    "the form has no label: send the right class in the field 'label'",
                )
            return await _learned(state, form, labels, version, corrects=True)

    @router.post("/undo", summary="Return to the previous version", **openapi.UNDO)
    async def undo(
        request: Request,
        version: Annotated[int, Query(ge=1, description="the version to undo")],
    ) -> Response:
        _check(state, request, ("version",))
        number = await state.changed(lambda: state.service.undo(version))
        return plain_json({"model_version": number})

    return router


def _check(state: ServerState, request: Request, known: tuple[str, ...]) -> None:
    known_queries(request, known)
    if not state.service.can_teach:
        raise InputError("unsupported", "teaching is locked: start the server with --teach")


async def _learned(
    state: ServerState, form: Form, labels: Sequence[str], seen: int | None, *, corrects: bool
) -> Response:
    """Learn the clips of a form, and describe the effect."""
    clips = [one.path for one in form.files]
    folder = Path(tempfile.mkdtemp(prefix="teach-", dir=state.folder))
    names = {f"{number:03d}-{one.path.name}": one.name for number, one in enumerate(form.files)}

    try:
        with _client_names(names, folder / "clips"):
            table = await asyncio.to_thread(
                lay_out, labels, clips, folder / "clips", validation=not corrects
            )
            taught = await state.changed(
                lambda: state.service.teach(table, replace_learned=corrects, seen=seen)
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    addition = taught.addition
    return plain_json(
        {
            "model_version": taught.version,
            "new": addition.new,
            "known": addition.known,
            "num_replaced": addition.num_replaced,
            "removed": list(addition.removed),
            "notes": [_with_names(one, names, folder / "clips") for one in addition.notes]
            + [str(one) for one in addition.alike],
            "cost": None if addition.cost is None else dataclasses.asdict(addition.cost),
            "seconds": round(addition.seconds, 3),
        }
    )


@contextmanager
def _client_names(names: dict[str, str], folder: Path) -> Iterator[None]:
    """Errors name the files as the client does, and no folder of the server."""
    try:
        yield
    except InputError as error:
        raise InputError(error.code, _with_names(str(error), names, folder)) from None


def _with_names(text: str, names: dict[str, str], folder: Path) -> str:
    text = text.replace(f"{folder}/", "")
    for own, given in names.items():
        text = text.replace(own, given)
    return text
