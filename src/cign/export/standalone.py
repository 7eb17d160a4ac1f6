"""Program delivered with an exported model: decode clips and print predictions as JSON lines.

Its source is the last part of the script that `cign.export.script` writes. It must run without this
package, so it imports only the decoding modules, which are also part of the script.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cign.data.media.container import MediaError, reason
from cign.data.media.decode import Decoded, MediaSpec, decode
from cign.data.media.windows import decode_windows

_MODALITIES = ("audio", "visual", "audio_visual")
_Predictor = Callable[[Any, Any], dict[str, Any]]


def main(folder: Path, arguments: list[str] | None = None) -> int:
    """Predict clips with the model that was exported to a folder.

    Args:
        folder: Holds ``predictor.json`` and ``predictor.onnx`` or ``predictor.pt2``.
        arguments: Command-line arguments; None: those of this process.

    Returns:
        The exit code: 0, or 2 if every file failed.
    """
    parser = argparse.ArgumentParser(description="Predict clips; print one JSON object per line.")
    parser.add_argument("files", metavar="FILE", nargs="+")
    parser.add_argument("--top", type=int, default=3, metavar="K", help="classes (default: 3)")
    parser.add_argument(
        "--every", type=float, metavar="SECONDS", help="predict windows with this step"
    )
    options = parser.parse_args(arguments)
    if options.top < 1:
        parser.error(f"--top is {options.top}: use a number of at least 1")
    if options.every is not None and not options.every > 0:
        parser.error(f"--every is {options.every:g}: use a number above 0")
    about = json.loads((folder / "predictor.json").read_text(encoding="utf-8"))
    predictor = _load(folder, about)
    num_good = 0
    for file in options.files:
        for window in _windows(file, about, options.every):
            if isinstance(window, Decoded):
                num_good += 1
                result = _predict(file, window, predictor, about, options.top)
            else:
                why, code = window
                result = {"file": file, "label": None, "error": why, "error_code": code}
            print(json.dumps(result), flush=True)
    return 0 if num_good else 2


def _load(folder: Path, about: dict[str, Any]) -> _Predictor:
    """Verify the checksums of a model and load it."""
    for name, expected in about["checksums"].items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                sys.exit(f"{folder / name} has a wrong checksum: export the model again")
    outputs = [*_MODALITIES, *about["unknown"]["outputs"].values()]
    if (folder / "predictor.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(
            folder / "predictor.onnx", providers=["CPUExecutionProvider"]
        )
        return lambda waveform, frames: dict(
            zip(
                outputs,
                session.run(outputs, {"waveform": waveform, "frames": frames}),
                strict=True,
            )
        )
    import torch

    module: Any = torch.export.load(folder / "predictor.pt2").module()
    return lambda waveform, frames: {
        name: values.numpy()
        for name, values in zip(
            outputs, module(torch.from_numpy(waveform), torch.from_numpy(frames)), strict=True
        )
    }


def _windows(
    file: str, about: dict[str, Any], every_s: float | None
) -> Iterator[Decoded | tuple[str, str]]:
    """The windows of a file, or why it cannot be read, with the code."""
    audio, frames = about["inputs"]["waveform"], about["inputs"]["frames"]
    spec = MediaSpec(
        num_frames=frames["num_frames"],
        frame_px=frames["frame_px"],
        rate_hz=audio["rate_hz"],
        window_s=audio["window_s"],
    )
    try:
        if Path(file).is_dir():
            raise MediaError("unreadable", "it is a folder: name the files in it")
        if every_s is None:
            yield decode(Path(file), spec)
        else:
            yield from decode_windows(Path(file), spec, every_s)
    except MediaError as error:
        yield str(error), error.code
    except Exception as error:  # a decoder that fails on one file must not stop the others
        yield reason(error), "file-unreadable"


def _predict(
    file: str, clip: Decoded, predictor: _Predictor, about: dict[str, Any], top: int
) -> dict[str, Any]:
    """Predict a window; if a modality is missing, use the prediction of the other one."""
    values = predictor(clip.audio[None].astype(np.float32) / 32768, clip.frames[None])
    missing = [
        name
        for name, is_present in (("audio", clip.has_audio), ("visual", clip.has_visual))
        if not is_present
    ]
    decides = {(): "audio_visual", ("audio",): "visual", ("visual",): "audio"}[tuple(missing)]
    values["audio_visual"] = values[decides]
    modalities: dict[str, list[dict[str, Any]]] = {name: [] for name in missing}
    for name in _MODALITIES:
        if name not in missing:
            best = np.argsort(-values[name][0], kind="stable")[:top]
            modalities[name] = [
                {
                    "label": about["classes"][number],
                    "probability": round(float(values[name][0][number]), 6),
                }
                for number in best
            ]
    unknown = float(values[about["unknown"]["outputs"][decides]][0])
    threshold = about["unknown"]["thresholds"][decides]
    return {
        "file": file,
        "start_s": round(clip.start_s, 3),
        "end_s": round(clip.end_s, 3),
        "label": modalities["audio_visual"][0]["label"],
        "unknown": round(unknown, 6),
        "unknown_threshold": None if threshold is None else round(threshold, 6),
        "is_unknown": threshold is not None and unknown > threshold,
        "modalities": {name: modalities[name] for name in _MODALITIES},
        "missing": missing,
        "error": None,
        "error_code": None,
    }
