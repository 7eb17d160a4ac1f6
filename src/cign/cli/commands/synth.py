"""`cign synth OUT`: render a synthetic dataset."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from cign.cli.arguments import CommandParser, given, path, seconds, whole
from cign.errors import InputError
from cign.synthetic.config import VARIANTS, SynthConfig
from cign.utils.terminal import make_progress, note, say

SUMMARY = "Render a synthetic audio-visual dataset of procedural instruments as MP4 files."
EXAMPLE = "cign synth work/clips --classes 12 --train 40 --test 30"
GO_ON = "run the same command again"

# option -> field of SynthConfig, and its meaning
_FIELDS = {
    "classes": ("num_classes", "number of classes to learn"),
    "train": ("num_train", "training clips per class"),
    "val": ("num_val", "validation clips per class"),
    "test": ("num_test", "test clips per class"),
    "world": (
        "world",
        "seed of the classes and the generator settings; each value is another dataset",
    ),
    "seed": ("seed", "seed of the clips"),
    "variant": ("variant", f"one of {', '.join(VARIANTS)}"),
    "size": ("size_px", "height and width of the frames in pixels, an even number"),
    "seconds": ("duration_s", "length of a clip in seconds"),
}


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    defaults = {field.name: field.default for field in dataclasses.fields(SynthConfig)}
    parser.add_argument("out", metavar="OUT", type=path, help="folder for the clips")
    for option, (field, meaning) in _FIELDS.items():
        kind = {"variant": str, "seconds": seconds}.get(option, whole(0))
        parser.add_argument(
            f"--{option}",
            metavar={"variant": "NAME", "size": "PX", "seconds": "S"}.get(option, "N"),
            type=kind,
            help=f"{meaning} (default: {defaults[field]})",
        )
    parser.add_argument(
        "--workers", metavar="N", type=whole(1), help="processes (default: one per core)"
    )


def run(options: Any) -> None:
    """Render the clips and print the path of their list."""
    from cign.synthetic import synthesize

    values = {_FIELDS[name][0]: value for name, value in given(options, list(_FIELDS)).items()}
    try:
        config = SynthConfig(**values)
    except InputError as error:
        raise InputError(error.code, _in_options(str(error))) from None
    num_workers = options.workers or os.cpu_count() or 1
    synthesize(options.out, config, num_workers=num_workers, progress=make_progress())
    say(f"{options.out / 'clips.csv'}")
    note(f"best possible accuracy on these clips: {100 * config.limit:.0f} %")


def _in_options(message: str) -> str:
    """Replace names of fields by the options that set them."""
    for option, (field, _) in _FIELDS.items():
        message = message.replace(f"{field} is", f"--{option} is")
    return message
