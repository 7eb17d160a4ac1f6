"""`cign labels SOURCE OUT --to TOOL`: write predictions or clips for an annotation tool."""

from __future__ import annotations

import json
from typing import Any

from cign.cli.arguments import CommandParser, add_media, path, paths, probability
from cign.utils.file_text import escape_name
from cign.utils.terminal import note, say

SUMMARY = "Write predictions or a list of clips as labels for an annotation tool."
EXAMPLE = """cign predict work/run long.wav --every 1 --csv > long.csv
cign labels long.csv work/labels --to audacity"""


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=path,
        help="output of `cign predict --csv`, --json or --jsonl, or any list of clips",
    )
    parser.add_argument(
        "out", metavar="OUT", type=path, help="folder for the label files; new or empty"
    )
    parser.add_argument(
        "--to",
        metavar="TOOL",
        required=True,
        help="audacity, cvat, elan, label-studio, raven or via",
    )
    parser.add_argument(
        "--format", metavar="NAME", help="format of a list of clips (default: detected)"
    )
    add_media(parser)
    parser.add_argument(
        "--unknown",
        metavar="LABEL",
        help="write windows that were called unknown, with this label (default: left out)",
    )
    parser.add_argument(
        "--min-probability",
        metavar="P",
        type=probability,
        help="leave out predictions below this probability",
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: Any) -> None:
    """Write the label files and name them."""
    from cign.data.clips import check_label
    from cign.data.formats.label_tools.writing import write_labels

    unknown = options.unknown
    written = write_labels(
        options.source,
        options.out,
        tool=options.to,
        format=options.format,
        media=paths(options.media),
        unknown_label=None if unknown is None else check_label(unknown, "--unknown"),
        min_probability=options.min_probability,
    )
    names = [escape_name(str(file)) for file in written.files]
    if options.json:
        facts = {
            "files": names,
            "recordings": written.num_recordings,
            "segments": written.num_segments,
            "notes": list(written.notes),
        }
        say(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    for line in written.notes:
        note(line)
    files = "file" if len(names) == 1 else "files"
    say(
        f"{written.num_segments} segments of {written.num_recordings} recordings in {len(names)} "
        f"{files} for {options.to}, for example {names[0]}",
        fit=True,
    )
