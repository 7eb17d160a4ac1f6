"""What a smaller variant of an exported file costs: labels, probabilities, bytes and time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from cign.data.media.decode import Decoded
from cign.errors import InputError, RunError
from cign.export.checking import Scores, inputs_of
from cign.export.formats import FILES, Runner, runner
from cign.export.precision import FP16, FP32, INT8, reduce
from cign.export.predictor import OUTPUTS, UNKNOWN
from cign.vocabulary import MODALITIES

# Share of clips whose audio-visual label must be the model's. Ours: half precision must change
# nothing but near ties; 8 bits are worth a few labels, but not a different model.
LEAST_AGREEMENT = {FP16: 0.98, INT8: 0.8}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a smaller variant costs, in comparison with the file in float32.

    Attributes:
        num_clips: Number of clips compared; none of them was used to calibrate.
        agreement: Share of clips with the model's label, by modality.
        difference: Mean over clips of the largest difference of a probability, by modality.
        unknown_difference: Mean difference of the unknown score, by modality.
        num_bytes: Size of the file; ``fp32`` and the variant.
        clips_per_s: Clips per second of CPU time, one at a time without decoding; likewise.
        num_calibrated: Number of clips that set the ranges of activations; 0 without any.
    """

    num_clips: int
    agreement: dict[str, float]
    difference: dict[str, float]
    unknown_difference: dict[str, float]
    num_bytes: dict[str, int]
    clips_per_s: dict[str, float]
    num_calibrated: int = 0


def split_clips(
    clips: Sequence[Decoded], precision: str
) -> tuple[Sequence[Decoded], Sequence[Decoded]]:
    """The clips that calibrate a precision, and those that check it.

    Raises:
        InputError: If there are too few for both.
    """
    if precision != INT8:
        return (), clips
    if len(clips) < 2:
        raise InputError(
            "bad-clip",
            f"--precision int8 needs two clips or more, one to calibrate and one to check: --clips "
            f"has {len(clips)}",
        )
    return clips[::2], clips[1::2]


def reduced(
    folder: Path,
    precision: str,
    network: nn.Module,
    clips: Sequence[Decoded],
    expected: Scores,
    *,
    multi_label: bool,
) -> Cost:
    """Replace a verified ONNX file in float32 by a smaller variant, and measure what it costs.

    Args:
        folder: Holds the file.
        precision: ``fp16`` or ``int8``.
        network: The network that was exported.
        clips: Clips to calibrate and to compare with.
        expected: Outputs of the model for the clips.
        multi_label: Whether clips have several labels.

    Raises:
        InputError: If there are too few clips, or the network has no such variant.
        RunError: If too many labels differ from the model's.
    """
    path = folder / FILES["onnx"]
    calibration, compared = split_clips(clips, precision)
    if precision == INT8:
        expected = {name: values[1::2] for name, values in expected.items()}
    num_bytes = {FP32: _size(folder)}
    _, fp32_clips_per_s = timed_scores(runner("onnx", folder), compared)
    reduce(path, precision, network, calibration)
    num_bytes[precision] = _size(folder)
    found, clips_per_s = timed_scores(runner("onnx", folder), compared)
    agreement, difference, unknown_difference = compare_labels(
        found, expected, precision, multi_label=multi_label
    )
    return Cost(
        num_clips=len(compared),
        agreement=agreement,
        difference=difference,
        unknown_difference=unknown_difference,
        num_bytes=num_bytes,
        clips_per_s={FP32: fp32_clips_per_s, precision: clips_per_s},
        num_calibrated=len(calibration),
    )


def _size(folder: Path) -> int:
    """Bytes of the ONNX file and of weights beside it."""
    return sum(path.stat().st_size for path in folder.glob(f"{FILES['onnx']}*"))


def timed_scores(run: Runner, clips: Sequence[Decoded]) -> tuple[Scores, float]:
    """The outputs for clips, one at a time, and the clips per second of CPU time."""
    run(*inputs_of(clips[:1]).values())  # the first call allocates
    began = time.process_time()
    parts = [run(*inputs_of([clip]).values()) for clip in clips]
    seconds = time.process_time() - began
    scores = {name: np.concatenate([part[name] for part in parts]) for name in OUTPUTS}
    return scores, len(clips) / max(seconds, 1e-9)


def compare_labels(
    found: Scores, expected: Scores, precision: str, *, multi_label: bool
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Agreement and differences of the outputs of a variant with those of the model.

    Args:
        found: Outputs of the variant.
        expected: Outputs of the model.
        precision: Precision of the variant.
        multi_label: Whether clips have several labels; these are compared at probability 0.5.

    Returns:
        `agreement`, `difference` and `unknown_difference` of `Cost`.

    Raises:
        RunError: If fewer labels agree than `LEAST_AGREEMENT`.
    """
    agreement, difference, unknown_difference = {}, {}, {}
    for name in MODALITIES:
        if multi_label:
            same = ((found[name] > 0.5) == (expected[name] > 0.5)).all(axis=1)
        else:
            same = found[name].argmax(axis=1) == expected[name].argmax(axis=1)
        agreement[name] = float(same.mean())
        difference[name] = float(np.abs(found[name] - expected[name]).max(axis=1).mean())
        unknown = UNKNOWN[name]
        unknown_difference[name] = float(np.abs(found[unknown] - expected[unknown]).mean())
    least = LEAST_AGREEMENT[precision]
    if not agreement["audio_visual"] >= least:
        raise RunError(
            "export-differs",
            f"with --precision {precision} the file gives {agreement['audio_visual']:.0%} of "
            f"{len(same)} clips the model's label, less than {least:.0%}: nothing was written; "
            f"name clips like yours with --clips, or use --precision "
            f"{FP32 if precision == FP16 else FP16}",
        )
    return agreement, difference, unknown_difference
