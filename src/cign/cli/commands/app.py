"""`cign app MODEL`: a web app that classifies clips and can learn new classes."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import CommandParser, add_device, add_model, device_of, path
from cign.cli.commands.add import add_out
from cign.cli.server_options import add_address, add_max_upload, announce, require_packages
from cign.errors import InputError
from cign.saved_model.hub import refuse_missing
from cign.utils.terminal import make_progress, note

SUMMARY = "Serve a web app: upload a clip, see the predictions and maps, teach and label clips."
EXAMPLE = "cign app work/run\ncign app work/model --teach --clips new-clips --work work/labels"
_NEEDED = ("gradio", "fastapi", "uvicorn")


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_model(parser)
    parser.add_argument(
        "--teach",
        action="store_true",
        help="enable teaching: anyone who opens the page may change the model",
    )
    add_out(parser)
    parser.add_argument(
        "--clips",
        metavar="SOURCE",
        type=path,
        help="with --teach: clips to label on the page: a folder of media files in any layout, a "
        "list of clips, or a prepared store; labels are ignored, and of splits only train is used",
    )
    parser.add_argument(
        "--learned",
        metavar="STORE",
        type=path,
        help="with --teach: prepared store of clips that the model learned, whose labels can be "
        "checked on the page, too",
    )
    parser.add_argument(
        "--work",
        metavar="DIR",
        type=path,
        help="with --teach: folder for labels and prepared clips; given again, the labelling "
        "continues (default: a temporary folder, which remains if labels in it are not learned)",
    )
    add_device(parser)
    add_address(parser, 7860)
    add_max_upload(parser, "file")


def run(options: Any) -> None:
    """Serve until interrupted."""
    require_packages(_NEEDED, "the web app", "`pip install 'gradio>=6,<7'`")
    refuse_missing(options.model)
    from cign.app.label_opening import opened_labelling
    from cign.app.service import Service
    from cign.app.serving import serve
    from cign.serving.listening import is_local, listen

    with listen(options.host, options.port) as socket:
        device = device_of(options)
        for name in ("clips", "learned", "work"):
            if getattr(options, name) is not None and not options.teach:
                raise InputError(
                    "conflicting-options",
                    f"--{name} requires --teach: add --teach, or remove --{name}",
                )
        service = Service(options.model, teach=options.teach, out=options.out, device=device)
        if not is_local(options.host):
            note(
                f"{options.host} can be reached from other machines: anyone there can open the "
                "page without a password" + (" and change the model" if options.teach else "")
            )
        with opened_labelling(
            service,
            clips=options.clips,
            learned=options.learned,
            work=options.work,
            progress=make_progress(),
            tell=note,
        ) as labelling:
            serve(
                service,
                socket,
                max_upload=options.max_upload,
                ready=announce,
                labelling=labelling,
            )
