"""Export a model to a folder: the verified predictor, its description, and a script to run it."""

from __future__ import annotations

import copy
import dataclasses
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cign.backbones.base import Backbone
from cign.export.checking import (
    TOLERANCE,
    Check,
    compare,
    compare_forms,
    decoded_clips,
    rendered_clips,
    scores_of,
)
from cign.export.cost import Cost, reduced, split_clips
from cign.export.formats import FILES, kinds_of, runner, write
from cign.export.fourier import without_fourier_operators
from cign.export.precision import FP32, check_precision
from cign.export.predictor import UNKNOWN, Predictor, in_float32, predictor_of
from cign.export.script import write_script
from cign.export.sizes import write_out_sizes
from cign.export.sums import write_out_sums
from cign.export.tracing import Traced, trace
from cign.runs.record import versions
from cign.saved_model.files import checksum
from cign.saved_model.model import Model
from cign.utils.files import replaceable_folder, write_json
from cign.utils.progress import Progress, Silent
from cign.vocabulary import MODALITIES

ABOUT = "predictor.json"
FORMAT = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """Result of an export.

    Attributes:
        folder: The output folder.
        files: Sizes in bytes by file name.
        checks: Result of the verification by kind of file.
        any_length: Whether waveforms of other lengths than the window's are accepted.
        bf16_difference: The largest difference between the model in bfloat16 and in float32, which
            the file uses; None if the model itself uses float32.
        cost: What a smaller variant costs; None in float32.
    """

    folder: Path
    files: dict[str, int]
    checks: dict[str, Check]
    any_length: bool
    bf16_difference: float | None
    cost: Cost | None = None


def export_model(
    model: Model,
    backbone: Backbone | None,
    out: Path,
    *,
    format: str = "onnx",
    precision: str = FP32,
    clips: Sequence[Path] = (),
    progress: Progress | None = None,
) -> Exported:
    """Write a model's predictor as a file that runs without this package.

    Args:
        model: The model; not changed.
        backbone: Its frozen backbone; None if the method holds its encoders.
        out: A new folder.
        format: ``onnx``, ``torch`` or ``both``.
        precision: ``fp32``; ``fp16`` stores weights in half precision; ``int8`` computes the
            encoders in 8 bits. The last two in ONNX only.
        clips: Files for the verification, of which ``int8`` uses every second one to calibrate;
            procedural clips if empty.
        progress: Receives the stages.

    Returns:
        What was written, and how much it differs from the model.

    Raises:
        InputError: If the folder is not empty, the format's packages are not installed, a clip
            cannot be read, the network cannot be traced, or it has no such variant.
        RunError: If the outputs of a file differ from the model's; then nothing is written.
    """
    progress = progress or Silent()
    check_precision(precision, format)
    kinds = kinds_of(format)
    place = replaceable_folder(out)
    checked_on = (
        decoded_clips(clips, model.media_spec) if clips else rendered_clips(model.media_spec)
    )
    split_clips(checked_on, precision)  # refused before a long check
    reference = in_float32(model)
    expected = scores_of(reference, backbone, checked_on)
    bf16_difference = None
    if model.method.setup.bf16:
        own = scores_of(model, backbone, checked_on)
        bf16_difference = max(float(abs(own[name] - expected[name]).max()) for name in own)
    if backbone is not None and model.device.type != "cpu":
        backbone = copy.deepcopy(backbone).to("cpu")  # the file holds tensors of the CPU
    network = predictor_of(in_float32(model).to("cpu"), backbone)
    with _staged(place) as staging:
        checks, traced = {}, None
        for kind in kinds:
            progress.start(f"{FILES[kind]}: tracing", 1)
            traced = _trace(kind, network, model)
            write(kind, traced, staging)
            progress.advance()
            progress.start(f"{FILES[kind]}: checking", len(checked_on))
            run = runner(kind, staging)
            checks[kind] = compare(run, checked_on, expected, progress, FILES[kind])
            compare_forms(run, network, traced, model.media_spec, FILES[kind])
        cost = None
        if precision != FP32:
            progress.start(f"{FILES['onnx']}: {precision}", 1)
            several = model.method.setup.multi_label
            cost = reduced(staging, precision, network, checked_on, expected, multi_label=several)
            progress.advance()
        progress.stop()
        assert traced is not None
        files = sorted(path for path in staging.iterdir() if path.is_file())
        about = _describe(model, traced, checks, checksums={p.name: checksum(p) for p in files})
        about["precision"] = precision
        if cost is not None:
            about["cost"] = dataclasses.asdict(cost)
        write_json(staging / ABOUT, about)
        write_script(staging, "onnxruntime" if "onnx" in kinds else "torch")
        sizes = {path.name: path.stat().st_size for path in sorted(staging.iterdir())}
    return Exported(
        folder=out,
        files=sizes,
        checks=checks,
        any_length=traced.any_length,
        bf16_difference=bf16_difference,
        cost=cost,
    )


def _trace(kind: str, network: Predictor, model: Model) -> Traced:
    if kind == "torch":
        return trace(network, model.media_spec, model.method.name)
    with without_fourier_operators():
        traced = trace(network, model.media_spec, model.method.name)
    write_out_sums(traced.program)
    write_out_sizes(traced.program)
    return traced


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A temporary folder that is renamed to the final one once all is written and verified."""
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    staging.mkdir()
    try:
        yield staging
        for path in staging.iterdir():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _describe(
    model: Model, traced: Traced, checks: dict[str, Check], checksums: dict[str, str]
) -> dict[str, Any]:
    """Description of the file: inputs, outputs, classes, thresholds, checksums."""
    spec = model.media_spec
    return {
        "format": FORMAT,
        "classes": list(model.classes),
        "multi_label": model.method.setup.multi_label,
        "inputs": {
            "waveform": {
                "dtype": "float32",
                "shape": ["batch", "samples" if traced.any_length else spec.num_samples],
                "rate_hz": spec.rate_hz,
                "window_s": spec.window_s,
                "num_samples": spec.num_samples,
                "channels": "mono",
                "range": [-1.0, 1.0],
                "quantised": "to 16 bits: integers divided by 32768",
                "shorter_clips": "repeated from their beginning",
            },
            "frames": {
                "dtype": "uint8",
                "shape": [
                    "batch",
                    "frames" if traced.any_frames else spec.num_frames,
                    spec.frame_px,
                    spec.frame_px,
                    3,
                ],
                "num_frames": spec.num_frames,
                "frame_px": spec.frame_px,
                "channel_order": "RGB",
                "resized": "bilinear, to a square, without preserving the aspect ratio",
                "taken": "the last frame at or before the middle of each of num_frames equal "
                "parts of the window",
            },
            "window": "the central window_s seconds of a clip; a shorter clip is used completely",
            "missing": "for a clip without audio or video, that input is zero, and the "
            "audio_visual prediction, unknown score and threshold are those of the other modality",
        },
        "outputs": {
            name: {"dtype": "float32", "shape": ["batch", len(model.classes)]}
            for name in MODALITIES
        }
        | {name: {"dtype": "float32", "shape": ["batch"]} for name in UNKNOWN.values()},
        "unknown": {
            "score": model.unknown.score,
            "range": [0.0, 1.0],
            "outputs": UNKNOWN,
            "thresholds": {name: model.unknown.thresholds.get(name) for name in MODALITIES},
            "meaning": "a clip whose score is above the threshold is unknown; null: no threshold",
        },
        "model": {
            "method": model.method.name,
            "backbone": model.backbone,
            "fingerprint": model.fingerprint,
            "regime": model.regime,
        },
        "check": {
            "tolerance": TOLERANCE,
            "largest_difference": {kind: check.difference for kind, check in checks.items()},
            "num_clips": {kind: check.num_clips for kind, check in checks.items()},
        },
        "versions": {**model.versions, "exported_with": versions()},
        "checksums": checksums,
    }
