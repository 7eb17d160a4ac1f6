"""`cign export MODEL OUT`: export the predictor to a file that runs without this package."""

from __future__ import annotations

from typing import Any

from cign.cli.arguments import CommandParser, add_device, add_model, device_of, path, paths
from cign.saved_model.hub import refuse_missing
from cign.utils.terminal import make_progress, say

SUMMARY = "Export a model's predictor to ONNX or torch.export, and check it against the model."
EXAMPLE = "cign export work/run work/exported"

_RUNTIMES = {"onnx": "onnxruntime", "torch": "torch", "both": "onnxruntime"}


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    add_model(parser)
    parser.add_argument("out", metavar="OUT", type=path, help="a new folder")
    parser.add_argument(
        "--format",
        metavar="NAME",
        default="onnx",
        help="onnx, torch (torch.export) or both (default: onnx)",
    )
    parser.add_argument(
        "--precision",
        metavar="NAME",
        default="fp32",
        help="fp32, fp16 (weights take half the space) or int8 (encoders in 8 bits); fp16 and int8 "
        "for --format onnx (default: fp32)",
    )
    add_device(parser)
    parser.add_argument(
        "--clips",
        metavar="FILE",
        nargs="+",
        help="media files for the check; with --precision int8 every second one sets the ranges of "
        "activations, so name clips like yours (default: 50 synthetic clips)",
    )


def run(options: Any) -> None:
    """Export, then print what was written and how much it differs from the model."""
    refuse_missing(options.model)
    from cign.export.checking import TOLERANCE
    from cign.export.formats import FILES, kinds_of
    from cign.export.precision import check_precision
    from cign.export.script import REQUIREMENTS, SCRIPT
    from cign.learner import Learner

    kinds_of(options.format)  # checked before a large model is read
    check_precision(options.precision, options.format)
    learner = Learner.load(options.model, device=device_of(options))
    exported = learner.export(
        options.out,
        format=options.format,
        precision=options.precision,
        clips=paths(options.clips),
        progress=make_progress(),
    )
    for kind, check in exported.checks.items():
        what = f"{exported.files[FILES[kind]] / 1e6:.1f} MB"
        if exported.cost is not None:
            what = "in float32, before weights were reduced"
        say(
            f"{exported.folder / FILES[kind]}: {what}; on "
            f"{check.num_clips} clips its probabilities and unknown scores differ from the model's "
            f"by at most {check.difference:.1g} (allowed: {TOLERANCE:g})"
        )
    if exported.cost is not None:
        _say_cost(exported.cost, options.precision)
    if exported.bf16_difference is not None:
        say(
            "the file computes in float32; the model's own predictions in bfloat16 differ by up to "
            f"{exported.bf16_difference:.2g}"
        )
    if not exported.any_length:
        say("number of clips: any; length of the audio: the model's window")
    say(f"{exported.folder / 'predictor.json'}: classes, inputs and outputs, checksums")
    say(
        f"{exported.folder / SCRIPT}: runs it with numpy, av and {_RUNTIMES[options.format]} only "
        f"({REQUIREMENTS})"
    )


def _say_cost(cost: Any, precision: str) -> None:
    """Print what a smaller variant costs, in comparison with float32."""
    before, after = cost.num_bytes["fp32"] / 1e6, cost.num_bytes[precision] / 1e6
    speed = cost.clips_per_s[precision] / cost.clips_per_s["fp32"]
    agreement = cost.agreement
    calibrated = f", calibrated on {cost.num_calibrated} others" if cost.num_calibrated else ""
    say(
        f"{precision}: {after:.1f} MB instead of {before:.1f}, {speed:.2f} times the clips per "
        f"second of CPU time; the model's label for {agreement['audio']:.1%} (audio), "
        f"{agreement['visual']:.1%} (visual) and {agreement['audio_visual']:.1%} (audio-visual) of "
        f"{cost.num_clips} clips{calibrated}"
    )
