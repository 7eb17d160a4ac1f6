"""`cign serve MODEL`: predictions and teaching over HTTP."""

from __future__ import annotations

import os
from typing import Any

from cign.cli.arguments import CommandParser, add_device, add_model, device_of, seconds, whole
from cign.cli.commands.add import add_out
from cign.cli.server_options import add_address, add_max_upload, announce, require_packages
from cign.saved_model.hub import refuse_missing
from cign.utils.terminal import note

SUMMARY = "Serve predictions over HTTP, in batches; with --teach also add, correct and undo."
EXAMPLE = "cign serve work/run\ncign serve work/model --teach --host 0.0.0.0 --workers 2"
_NEEDED = ("fastapi", "uvicorn", "prometheus_client", "python_multipart")


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_model(parser)
    parser.add_argument(
        "--teach",
        action="store_true",
        help="let requests add clips, correct labels and undo; requires a token",
    )
    add_out(parser)
    add_address(parser, 8000, access="one that other machines can reach requires a token")
    parser.add_argument(
        "--token",
        metavar="TEXT",
        help="token that requests must send; other users of this machine can see it in the list of "
        "processes, so prefer the environment variable CIGN_TOKEN",
    )
    parser.add_argument(
        "--allow-url",
        metavar="HOST",
        action="append",
        help="host, with or without :PORT, that clips may be fetched from; may be repeated "
        "(default: none)",
    )
    add_max_upload(parser, "request")
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=seconds,
        default=60.0,
        help="time for a request, from its first byte to its answer (default: 60)",
    )
    parser.add_argument(
        "--max-queue",
        metavar="N",
        type=whole(1),
        default=64,
        help="requests of a worker in progress at a time; further ones get status 503 and "
        "Retry-After (default: 64)",
    )
    parser.add_argument(
        "--max-batch",
        metavar="N",
        type=whole(1, 1024),
        default=16,
        help="windows of concurrent requests that are encoded together (default: 16)",
    )
    parser.add_argument(
        "--workers",
        metavar="N",
        type=whole(1, 256),
        default=1,
        help="processes that answer at the port, each with its own model in memory (default: 1)",
    )
    add_device(parser)


def run(options: Any) -> None:
    """Serve until a signal."""
    require_packages(_NEEDED, "the server", "`pip install '.[serve]'` in the source folder")
    refuse_missing(options.model)
    from cign.serving.hosts import allowed_host
    from cign.serving.settings import Settings

    settings = Settings(
        host=options.host,
        token=options.token or os.environ.get("CIGN_TOKEN") or None,
        teach=options.teach,
        allowed_hosts=tuple(map(allowed_host, options.allow_url or ())),
        max_upload=options.max_upload,
        timeout_s=options.timeout,
        max_queue=options.max_queue,
        max_batch=options.max_batch,
    )
    from cign.serving.listening import address_of, listen
    from cign.serving.running import upload_folder

    with listen(options.host, options.port) as taken, upload_folder() as folder:
        device = device_of(options)
        address = address_of(taken)
        is_interrupted = _serve(options, settings, taken, folder, device, address)
    if is_interrupted:
        raise KeyboardInterrupt


def _serve(options: Any, settings: Any, taken: Any, folder: Any, device: str, address: str) -> bool:
    from cign.serving.model_service import ModelService
    from cign.serving.running import run_server

    service = ModelService(
        options.model, teach=options.teach, out=options.out, device=device, features=True
    )

    def ready() -> None:
        announce(address, f"routes: {address}/docs; Ctrl-C stops it")

    if settings.token is None:
        note("no token: every user of this machine can send requests")
    if options.workers == 1:
        return run_server(service, settings, taken, folder, ready=ready)
    place = service.place
    del service  # each worker loads its own
    from cign.serving.workers import run_workers

    return run_workers(options.workers, place, settings, taken, folder, device=device, ready=ready)
