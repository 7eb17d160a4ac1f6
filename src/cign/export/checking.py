"""Verification of an exported file before it is written: its outputs must match the model's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cign.backbones.base import Backbone
from cign.data.media.decode import Decoded, MediaError, MediaSpec, decode
from cign.errors import InputError, RunError
from cign.export.formats import Runner
from cign.export.predictor import OUTPUTS, UNKNOWN, Predictor, example
from cign.export.tracing import Traced
from cign.inference.predict import BATCH, predict_batch
from cign.saved_model.model import Model
from cign.synthetic import ClipDraw, SyntheticDataset, render_audio, render_frames
from cign.synthetic.config import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from cign.utils.progress import Progress
from cign.vocabulary import MODALITIES

TOLERANCE = 1e-4
NUM_RENDERED = 50
_WORLD, _NUM_CLASSES = 7, 25  # of a synthetic dataset that the encoders were not trained on

Scores = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """Result of a check.

    Attributes:
        num_clips: Number of clips compared.
        difference: The largest absolute difference of a probability or an unknown score.
        where: The output with that difference, and the number of the clip.
    """

    num_clips: int
    difference: float
    where: str


def rendered_clips(spec: MediaSpec, num_clips: int = NUM_RENDERED) -> list[Decoded]:
    """Procedural clips in the input format of a model, followed by one silent and one noise clip.

    The audio is rendered at 16 kHz and not resampled: for a model with a different sample rate its
    pitch is shifted, which does not matter here.
    """
    world = SyntheticDataset(_WORLD)
    clips = []
    for i in range(num_clips - 2):
        # Rounded up, so that no sample is missing.
        duration_s = spec.num_samples / SAMPLE_RATE_HZ + 1.0 / FRAME_RATE_HZ
        draw = ClipDraw(
            world=_WORLD,
            seed=0,
            split="test",
            class_ids=(i % _NUM_CLASSES,),
            index=i // _NUM_CLASSES,
            size_px=spec.frame_px,
            duration_s=duration_s,
        )
        step = duration_s * FRAME_RATE_HZ / spec.num_frames
        numbers = [int((k + 0.5) * step) for k in range(spec.num_frames)]
        frames = render_frames(world, draw, numbers)[0]
        clips.append(_as_decoded(frames, render_audio(world, draw)[: spec.num_samples], spec))
    noise = np.random.default_rng(0)
    shape = (spec.num_frames, spec.frame_px, spec.frame_px, 3)
    silence = np.zeros(spec.num_samples, np.int16)
    clips.append(_as_decoded(np.zeros(shape, np.uint8), silence, spec))
    loud = noise.integers(-32768, 32768, spec.num_samples).astype(np.int16)
    clips.append(_as_decoded(noise.integers(0, 256, shape).astype(np.uint8), loud, spec))
    return clips


def _as_decoded(frames: NDArray[np.uint8], audio: NDArray[np.int16], spec: MediaSpec) -> Decoded:
    return Decoded(
        frames=frames,
        audio=audio,
        has_audio=True,
        has_visual=True,
        silent=False,
        still=None,
        start_s=0.0,
        end_s=spec.window_s,
        duration_s=spec.window_s,
    )


def decoded_clips(files: Sequence[Path], spec: MediaSpec) -> list[Decoded]:
    """Decode files.

    Raises:
        InputError: If one cannot be read, or lacks audio or video.
    """
    clips = []
    for file in files:
        try:
            clip = decode(file, spec)
        except MediaError as error:
            message = f"--clips {file} cannot be read ({error}): name another file"
            raise InputError("bad-clip", message) from None
        if not (clip.has_audio and clip.has_visual):
            missing = "video" if clip.has_audio else "audio"
            raise InputError(
                "bad-clip", f"--clips {file} has no {missing} track: name a file with both tracks"
            )
        clips.append(clip)
    return clips


def inputs_of(clips: Sequence[Decoded]) -> dict[str, Any]:
    """Inputs of an exported file: waveform [B, L] in -1..1 and frames [B, K, S, S, 3]."""
    waveform = np.stack([clip.audio for clip in clips]).astype(np.float32) / 32768.0
    return {"waveform": waveform, "frames": np.stack([clip.frames for clip in clips])}


def scores_of(model: Model, backbone: Backbone | None, clips: Sequence[Decoded]) -> Scores:
    """The outputs `OUTPUTS` of the model, computed as in `cign predict`."""
    starts = range(0, len(clips), BATCH)
    parts = [predict_batch(model, backbone, list(clips[i : i + BATCH])) for i in starts]
    scores = {
        name: np.concatenate([part.probabilities[name] for part in parts]) for name in MODALITIES
    }
    for modality, name in UNKNOWN.items():
        scores[name] = np.concatenate([part.unknown[modality] for part in parts])
    return scores


def compare(
    run: Runner, clips: Sequence[Decoded], expected: Scores, progress: Progress, what: str
) -> Check:
    """Compare an exported file with the model on clips, using different batch sizes.

    Args:
        run: Runs the file.
        clips: Clips with audio and video.
        expected: Outputs of the model for the clips.
        progress: Advanced by each clip.
        what: Name of the file, for the error message.

    Raises:
        RunError: If a probability or an unknown score differs by more than `TOLERANCE`, or is not
            a number.
    """
    parts = []
    for start, stop in _batches(len(clips)):
        some = clips[start:stop]
        parts.append(run(*inputs_of(some).values()))
        progress.advance(len(some))
    worst, where = 0.0, ""
    for name in OUTPUTS:
        found = np.concatenate([part[name] for part in parts]).astype(np.float64)
        difference = np.abs(found - expected[name]).reshape(len(clips), -1).max(axis=1)
        difference[~np.isfinite(difference)] = np.inf
        if difference.max() >= worst:
            worst = float(difference.max())
            where = f"{_in_words(name)} of clip {int(difference.argmax()) + 1}"
    if not worst <= TOLERANCE:
        raise RunError(
            "export-differs",
            f"{what} differs from the model by {worst:.2g} in {where}, more than {TOLERANCE:g}: "
            "nothing was written; use the other --format, or `cign predict`",
        )
    return Check(num_clips=len(clips), difference=worst, where=where)


def compare_forms(
    run: Runner, network: Predictor, traced: Traced, spec: MediaSpec, what: str
) -> None:
    """Compare an exported file with the network on the other input lengths that it supports.

    Raises:
        RunError: If an output differs by more than `TOLERANCE`.
    """
    forms: list[dict[str, int]] = []
    if traced.any_length:
        forms += [{"num_samples": spec.num_samples * share // 8} for share in (5, 11)]
    if traced.any_frames:
        forms += [{"num_frames": number} for number in (1, spec.num_frames + 2)]
    for form in forms:
        waveform, frames = example(spec, num_clips=2, **form)
        with torch.no_grad():
            expected = network(waveform, frames)
        found = run(waveform.numpy(), frames.numpy())
        for name, values in zip(OUTPUTS, expected, strict=True):
            worst = float(np.abs(found[name] - values.numpy()).max())
            if not worst <= TOLERANCE:
                (kind, number), *_ = form.items()
                raise RunError(
                    "export-differs",
                    f"{what} differs from the model by {worst:.2g} with {kind} {number}, more "
                    f"than {TOLERANCE:g}: nothing was written; use the other --format, or "
                    "`cign predict`",
                )


def _in_words(output: str) -> str:
    """Description of an output."""
    modality = output.removeprefix("unknown_").replace("_", "-")
    what = f"the {modality} prediction"
    return what if output in MODALITIES else f"the unknown score of {what}"


def _batches(num_clips: int) -> Iterator[tuple[int, int]]:
    """One clip, then seven at a time: batch sizes that differ from the one used in tracing."""
    start, size = 0, 1
    while start < num_clips:
        yield start, min(start + size, num_clips)
        start, size = start + size, 7
