"""`cign label-studio MODEL`: a machine learning backend for Label Studio."""

from __future__ import annotations

import os
from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_device,
    add_model,
    device_of,
    num_bytes,
    path,
    paths,
    probability,
    seconds,
    whole,
)
from cign.cli.commands.add import add_out
from cign.cli.server_options import add_address, announce, require_packages
from cign.errors import InputError
from cign.saved_model.hub import refuse_missing
from cign.utils.terminal import note

SUMMARY = "Serve a machine learning backend for Label Studio: predict tasks, learn annotations."
EXAMPLE = (
    "cign label-studio work/run --media recordings\n"
    "cign label-studio work/model --media recordings --teach --work work/label-studio"
)
_NEEDED = ("fastapi", "uvicorn", "httpx")


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_model(parser)
    parser.add_argument(
        "--media",
        metavar="DIR",
        action="append",
        help="folder with recordings of the tasks; files elsewhere are never read; may be repeated",
    )
    parser.add_argument(
        "--label-studio",
        metavar="URL",
        help="address of Label Studio, from which uploaded recordings are downloaded with the API "
        "key in LABEL_STUDIO_API_KEY (default: none is downloaded)",
    )
    parser.add_argument(
        "--allow-host",
        metavar="HOST",
        action="append",
        help="host from which recordings may be downloaded, HOST or HOST:PORT; may be repeated",
    )
    parser.add_argument(
        "--max-download",
        metavar="SIZE",
        type=num_bytes,
        default=2**30,
        help="largest recording that is downloaded, for example 200MB or 2GB (default: 1GB)",
    )
    parser.add_argument(
        "--every",
        metavar="SECONDS",
        type=seconds,
        default=1.0,
        help="seconds between window starts (default: 1)",
    )
    parser.add_argument(
        "--unknown",
        metavar="LABEL",
        help="label for unknown parts, if the labelling interface has it (default: they "
        "get no label)",
    )
    parser.add_argument(
        "--min-probability",
        metavar="P",
        type=probability,
        default=0.0,
        help="give no label where its probability is below P (default: 0)",
    )
    parser.add_argument(
        "--teach",
        action="store_true",
        help="collect annotations and learn them when Label Studio starts training",
    )
    parser.add_argument(
        "--work",
        metavar="DIR",
        type=path,
        help="with --teach: folder for the annotations and downloads; given again, it is continued",
    )
    parser.add_argument(
        "--learn-after",
        metavar="N",
        type=whole(1),
        help="with --teach: also learn whenever N annotations are new or changed (default: only "
        "when Label Studio starts training)",
    )
    add_out(parser)
    add_device(parser)
    add_address(parser, 9090, access="set CIGN_LABEL_STUDIO_TOKEN to require a password")


def run(options: Any) -> None:
    """Serve until interrupted."""
    require_packages(_NEEDED, "the backend", "`pip install '.[label-studio]'` in the source folder")
    _check(options)
    refuse_missing(options.model)
    from cign.integrations.label_studio.backend import Backend
    from cign.integrations.label_studio.download import (
        KEY_VARIABLE,
        Downloads,
        check_server,
    )
    from cign.integrations.label_studio.media import MediaFiles
    from cign.integrations.label_studio.predicting import PredictionOptions
    from cign.integrations.label_studio.routes import TOKEN_VARIABLE
    from cign.integrations.label_studio.server import serve
    from cign.serving.hosts import allowed_host
    from cign.serving.listening import is_local, listen
    from cign.serving.model_service import ModelService
    from cign.utils.files import folder_lock

    server = None if options.label_studio is None else check_server(options.label_studio)
    hosts = [allowed_host(host, "--allow-host") for host in options.allow_host or ()]
    key, token = os.environ.get(KEY_VARIABLE), os.environ.get(TOKEN_VARIABLE)
    with listen(options.host, options.port) as socket:
        device = device_of(options)
        service = ModelService(options.model, teach=options.teach, out=options.out, device=device)
        if not is_local(options.host) and not token:
            note(
                f"{options.host} can be reached from other machines: anyone there can send "
                f"requests{' and change the model' if options.teach else ''}; set {TOKEN_VARIABLE} "
                "to require a token"
            )
        if server is not None and not key:
            note(f"{KEY_VARIABLE} is not set: uploads to Label Studio cannot be downloaded")
        downloads = Downloads(
            server=server, hosts=hosts, max_bytes=options.max_download, key=key or None
        )
        keep = None if options.work is None else options.work / "media"
        media = MediaFiles(paths(options.media), downloads, keep)
        settings = PredictionOptions(
            every_s=options.every,
            unknown=options.unknown,
            min_probability=options.min_probability,
        )

        def start() -> None:
            backend = Backend(
                service,
                media,
                settings,
                work=options.work,
                learn_after=options.learn_after,
                tell=_tell,
            )
            service.warm_up()
            serve(backend, socket, token=token or None, ready=announce)

        if options.work is None:
            start()
        else:
            with folder_lock(options.work, "folder"):
                start()


def _check(options: Any) -> None:
    """Refuse options that contradict each other, and media folders that do not exist."""
    for name in ("work", "learn_after", "out"):
        if getattr(options, name) is not None and not options.teach:
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                "conflicting-options", f"{option} requires --teach: add --teach, or remove {option}"
            )
    if options.teach and options.work is None:
        raise InputError(
            "missing-option",
            "--teach needs a folder for the annotations: name one with --work, outside the model",
        )
    for folder in paths(options.media):
        if not folder.is_dir():
            raise InputError(
                "file-missing", f"--media {folder} is not a folder: name one with recordings"
            )


def _tell(text: str) -> None:
    note(" ".join(text.split()))
