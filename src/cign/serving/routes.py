"""Routes that read: predictions, classes, health and metrics."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from cign.errors import InputError
from cign.serving import openapi
from cign.serving.arrays import clip_of, features_of, is_of_features, read_arrays
from cign.serving.batching import RequestOptions
from cign.serving.errors import HttpError
from cign.serving.fetching import fetch
from cign.serving.server_state import ServerState
from cign.serving.settings import MAX_JSON_BYTES, MAX_TOP
from cign.serving.uploads import Upload, received_body, received_form, small_body

Objects = list[dict[str, Any]]
FORM, JSON, NPZ = "multipart/form-data", "application/json", "application/x-npz"


def reading_router(state: ServerState) -> APIRouter:
    """The routes that do not change the model."""
    router = APIRouter()

    @router.post("/predict", summary="Predict a clip", **openapi.PREDICT)
    async def predict(
        request: Request,
        top: Annotated[int, Query(ge=1, le=MAX_TOP, description="classes per modality")] = 3,
        every: Annotated[
            float | None,
            Query(
                gt=0,
                allow_inf_nan=False,
                description="seconds between window starts; without it the centre window",
            ),
        ] = None,
        maps: Annotated[bool, Query(description="add where and when each class was found")] = False,
        unknown_threshold: Annotated[
            float | None,
            Query(
                ge=0,
                le=1,
                allow_inf_nan=False,
                description="unknown score above which a clip is unknown; 0 disables it",
            ),
        ] = None,
    ) -> Response:
        known_queries(request, ("top", "every", "maps", "unknown_threshold"))
        how = {"top": top, "unknown_threshold": unknown_threshold, "maps": maps}
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == FORM:
            found = await _of_form(state, request, every, how)
        elif kind == JSON:
            found = await _of_url(state, request, every, how)
        elif kind == NPZ:
            found = await _of_arrays(state, request, every, how)
        else:
            raise HttpError(
                *(415, "unsupported-media-type"),
                f"the body has type {kind[:60]!r}: send {FORM} with a file, {JSON} with a url, or "
                f"{NPZ} with arrays",
            )
        return plain_json(found)

    @router.get("/classes", summary="The classes and the version of the model", **openapi.CLASSES)
    async def classes(request: Request) -> Response:
        known_queries(request, ())
        snapshot = state.service.snapshot
        groups = snapshot.model.groups
        return plain_json(
            {
                "model_version": snapshot.version,
                "model_checksum": snapshot.checksum,
                "classes": [
                    {"name": name, "task": task + 1}
                    for task, group in enumerate(groups)
                    for name in group
                ],
            }
        )

    @router.get("/health", summary="Whether the server lives and is ready", **openapi.HEALTH)
    async def health() -> Response:
        return plain_json(state.health(), 200 if state.is_ready else 503)

    @router.get("/health/live", summary="200 while the process lives", **openapi.PLAIN)
    async def live() -> Response:
        return plain_json({"live": True})

    @router.get("/health/ready", summary="200 while requests are accepted", **openapi.PLAIN)
    async def ready() -> Response:
        return plain_json({"ready": state.is_ready}, 200 if state.is_ready else 503)

    @router.get("/metrics", summary="Metrics in the format of Prometheus", **openapi.PLAIN)
    async def metrics() -> Response:
        text, kind = await asyncio.to_thread(state.metrics.text)
        return Response(text, media_type=kind)

    return router


async def _of_form(
    state: ServerState, request: Request, every: float | None, how: dict[str, Any]
) -> Objects:
    async with received_form(request, state.folder, field="file", max_files=1) as form:
        (upload,) = form.files
        options = RequestOptions(snapshot=state.service.snapshot, name=upload.name, **how)
        return await state.answers.clip(options, upload.path, every)


async def _of_url(
    state: ServerState, request: Request, every: float | None, how: dict[str, Any]
) -> Objects:
    settings = state.settings
    until = time.monotonic() + settings.timeout_s
    url = _url_of(await small_body(request, MAX_JSON_BYTES))

    def work() -> Upload:
        return fetch(
            url,
            settings.allowed_hosts,
            state.folder,
            max_bytes=settings.max_upload,
            timeout_s=until - time.monotonic(),
        )

    fetched = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        upload = await asyncio.shield(fetched)
        options = RequestOptions(snapshot=state.service.snapshot, name=upload.name, **how)
        return await state.answers.clip(options, upload.path, every)
    finally:
        fetched.add_done_callback(_remove)  # after a timeout, the thread may still be fetching


def _remove(fetched: asyncio.Future[Upload]) -> None:
    if not fetched.cancelled() and fetched.exception() is None:
        fetched.result().path.unlink(missing_ok=True)


def _url_of(body: bytes) -> str:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or set(given) != {"url"} or not isinstance(given["url"], str):
        raise HttpError(
            *(400, "bad-request"),
            'the JSON body must be an object with a url, for example {"url": "https://HOST/a.mp4"}',
        )
    return str(given["url"])


async def _of_arrays(
    state: ServerState, request: Request, every: float | None, how: dict[str, Any]
) -> Objects:
    async with received_body(request, state.folder, ".npz") as path:
        arrays = await asyncio.to_thread(read_arrays, path, state.settings.max_upload)
    options = RequestOptions(snapshot=state.service.snapshot, name="array", **how)
    if not is_of_features(arrays):
        return await state.answers.clip(options, clip_of(arrays), every)
    if every is not None or options.maps:
        raise InputError(
            "conflicting-options", "every and maps do not apply to features: leave them out"
        )
    return await state.answers.features(options, *features_of(arrays))


def known_queries(request: Request, known: tuple[str, ...]) -> None:
    """Refuse a parameter that would be ignored.

    Raises:
        HttpError: It names the parameter and those that exist.
    """
    for name in request.query_params:
        if name not in known:
            allowed = f"use {', '.join(known)}" if known else "this route has none"
            raise HttpError(400, "bad-request", f"unknown parameter {name[:40]!r}: {allowed}")


def plain_json(content: Any, status: int = 200) -> JSONResponse:
    """An answer in JSON."""
    return JSONResponse(content, status)
