"""Profiles of preparing, a training step, closed-form learning, predicting and starting up.

    python benchmarks/profiles.py [--clips 8] [--parts prepare,step,...]

Functions are wrapped and their exclusive times summed, in one process and one thread; the remaining
time is listed as the rest. Writes ``benchmarks/results/profiles.md``, explained in
docs/performance.md.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from unittest import mock

import torch

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent / "speed")]

from cached import FEW, MANY, SHAPES, learner
from part import machine
from predicting import make_model
from prepare_speed import make_clips
from step import cign_method, cign_step, clips
from stopwatch import Wrapped, timed

from cign.utils.files import write_text

PAGE = Path(__file__).with_name("results") / "profiles.md"
PLANNED, MACHINES, CORES = 10_000_000, 100, 16


def decoding() -> tuple[Wrapped, ...]:
    """The steps of decoding a clip."""
    from cign.data.media import decode as media
    from cign.data.media.audio import SoundReader
    from cign.data.media.container import Media
    from cign.data.media.video import FrameReader

    return (
        (Media, "open", "open the file"),
        (FrameReader, "at", "seek and decode the video"),
        (SoundReader, "between", "decode and resample the audio"),
        (media, "to_square", "resize the frame"),
        (media, "is_still", "detect still video"),
        (media, "finish", "check the clip"),
    )


def prepare(options: argparse.Namespace, folder: Path) -> list[str]:
    from cign.data.arrays import RowWriter, create_array
    from cign.data.media import decode as media
    from cign.data.media.decode import MediaSpec
    from cign.data.prepare.worker import Decoder

    paths = make_clips(folder / "prepared", options.clips)
    spec = MediaSpec()
    frames = (len(paths), spec.num_frames, spec.frame_px, spec.frame_px, 3)
    create_array(folder / "frames.npy", frames, "uint8")
    create_array(folder / "audio.npy", (len(paths), spec.num_samples), "int16")
    decoder = Decoder(spec, folder)

    def work() -> None:
        for row, path in enumerate(paths):
            task = {"row": row, "path": str(path), "start_s": None, "end_s": None}
            assert decoder(task)["visual_ok"]

    more = ((RowWriter, "write", "write to the store"), (media, "content_hash", "hash the content"))
    watch, whole_s = timed(work, *decoding(), *more)
    options.seconds["decode, resize, write"] = whole_s / len(paths)
    return [f"{len(paths)} clips of 10 s.", "", *watch.table(whole_s, len(paths), "clip")]


def step(options: argparse.Namespace, folder: Path) -> list[str]:
    from cign.backbones.preprocessing.spectrogram import LogSpectrogram
    from cign.backbones.resnet import ResNetPair
    from cign.networks.cign_network import ModalityBranch

    lines = []
    for number in (FEW, 220):
        method = cign_method(number, bf16=True)
        backbone = method.network.encoder.backbone
        assert isinstance(backbone, ResNetPair)
        work = cign_step(method, clips(16, number, backbone))
        from cign.backbones import resnet

        watch, whole_s = timed(
            work,
            (resnet, "to_input", "crop, flip, scale"),
            (LogSpectrogram, "forward", "spectrogram"),
            (ResNetPair, "visual_tokens", "visual ResNet-18, forward"),
            (ResNetPair, "audio_tokens", "audio ResNet-18, forward"),
            (ModalityBranch, "forward", "transformers and grouping, forward"),
            (torch.Tensor, "backward", "backward"),
            (torch.optim.Adam, "step", "Adam"),
        )
        lines += [
            f"{number} classes, batch 16, bfloat16:",
            "",
            *watch.table(whole_s, 1, "step"),
            "",
        ]
    return lines


def closed_form(options: argparse.Namespace, folder: Path) -> list[str]:
    from cign.networks import views
    from cign.networks.ridge import RandomFeatures
    from cign.networks.token_ridge import TokenStatistics

    lines = []
    for name in ("small encoders", "ResNet-18 pair"):
        for number in (FEW, MANY):
            method, batch, phase = learner(SHAPES[name], number, 64)
            watch, whole_s = timed(
                lambda m=method, b=batch, p=phase: [m.learn(b, p) for _ in range(4)],
                (RandomFeatures, "forward", "random features"),
                (views, "contrast", "contrast"),
                (views, "saliency", "saliency"),
                (TokenStatistics, "absorb", "sums of products"),
            )
            if (name, number) == ("small encoders", MANY):
                options.seconds["learn in closed form, 1,000 classes"] = whole_s / (4 * 64)
                options.state_bytes = method.state_bytes
            began = time.perf_counter()
            method.solve()
            solve_s = time.perf_counter() - began
            lines += [f"{name}, {number:,} classes, batches of 64:", ""]
            lines += [*watch.table(whole_s, 4 * 64, "clip"), ""]
            lines += [f"After a task: solving takes {solve_s:.2f} s.", ""]
    return lines


def predict(options: argparse.Namespace, folder: Path) -> list[str]:
    from cign.backbones.small import SmallPair
    from cign.inference import predict as predictor
    from cign.learner import Learner
    from cign.open_set.evidence import EvidenceReader

    paths = make_clips(folder / "predicted", options.clips)
    make_model(folder / "model")
    learner = Learner.load(folder / "model")
    with mock.patch.object(predictor, "num_threads", return_value=1):
        watch, whole_s = timed(
            lambda: list(learner.predict(paths)),
            (SmallPair, "audio_tokens", "encode the audio"),
            (SmallPair, "visual_tokens", "encode the frames"),
            (EvidenceReader, "read", "predict from the tokens"),
        )
        alone, alone_s = timed(
            lambda: [predictor.decode(path, learner.model.spec) for path in paths], *decoding()
        )
    encoding_s = sum(value for what, value in watch.seconds.items() if what.startswith("encode"))
    options.seconds["make tokens, small encoders"] = encoding_s / len(paths)
    lines = ["The prediction thread, which waits for one decoding thread:", ""]
    lines += watch.table(whole_s, len(paths), "clip")
    return [*lines, "", "Decoding alone:", "", *alone.table(alone_s, len(paths), "clip")]


def start(options: argparse.Namespace, folder: Path) -> list[str]:
    """Exclusive import times by package, as reported by the interpreter."""
    lines = []
    for words in (("--help",), ("predict", "no-such-folder", "x.mp4")):
        command = [sys.executable, "-X", "importtime", "-m", "cign", *words]
        output = subprocess.run(command, capture_output=True, text=True).stderr
        spent: defaultdict[str, float] = defaultdict(float)
        for own_us, name in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", output):
            spent[name.split(".")[0]] += int(own_us) / 1e3
        most = sorted(spent.items(), key=lambda item: -item[1])[:6]
        lines += [f"`cign {' '.join(words)}`, imports {sum(spent.values()):.0f} ms:", ""]
        lines += ["| package | ms |", "| --- | ---: |"]
        lines += [f"| {name} | {value:.0f} |" for name, value in most] + [""]
    return lines


def plan(options: argparse.Namespace, folder: Path) -> list[str]:
    """Estimate for ten million clips, from the times of the parts."""
    from cign.data.media.decode import PRESETS

    missing = [part for part in ("prepare", "closed_form", "predict") if part not in options.parts]
    if missing:
        return [f"Requires the parts {', '.join(missing)} in the same run.", ""]
    lines = [
        f"| | ms per clip and core | core hours | hours on {MACHINES} machines of {CORES} cores |"
    ]
    lines += ["| --- | ---: | ---: | ---: |"]
    for what, seconds in options.seconds.items():
        hours = seconds * PLANNED / 3600
        lines.append(
            f"| {what} | {1e3 * seconds:.1f} | {hours:,.0f} | {hours / MACHINES / CORES:.2f} |"
        )
    spec = PRESETS["small"]
    media = 3 * spec.num_frames * spec.frame_px**2 + 2 * spec.num_samples
    shape = SHAPES["small encoders"]
    tokens = 2 * shape.num_audio_tokens * shape.audio_dim
    tokens += 2 * shape.num_visual_tokens * shape.visual_dim
    targets = MANY  # one byte for each clip and class, in memory
    lines += ["", "| stored data | bytes per clip | total |", "| --- | ---: | ---: |"]
    for what, size in (
        ("frames and audio for the small encoders", media),
        ("their tokens", tokens),
        ("labels in memory, 1,000 classes", targets),
    ):
        lines.append(f"| {what} | {size:,} | {size * PLANNED / 1e9:,.0f} GB |")
    lines.append(
        f"| sums of a closed form, for any number of clips | | {options.state_bytes / 1e6:.0f} MB |"
    )
    return lines


PARTS = {
    "prepare": ("Preparing, one process", prepare),
    "step": ("A training step of `cign`, end to end", step),
    "closed_form": ("Closed-form learning on cached tokens", closed_form),
    "predict": ("Predicting with the small encoders", predict),
    "start": ("Starting up", start),
    "plan": (f"Estimate for {PLANNED:,} clips", plan),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clips", type=int, default=8, help="number of clips to decode")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    options.seconds, options.state_bytes = {}, 0
    torch.set_num_threads(1)
    about = ", ".join(f"{name} {value}" for name, value in machine().items())
    lines = [
        "# Profiles",
        "",
        f"`python benchmarks/profiles.py --clips {options.clips}`; {about}, load "
        f"{os.getloadavg()[0]:.1f}.",
        "",
    ]
    for name in options.parts.split(","):
        if name not in PARTS:
            parser.error(f"unknown part {name!r}: use some of {', '.join(PARTS)}")
        title, work = PARTS[name]
        with tempfile.TemporaryDirectory() as folder:
            lines += [f"## {title}", "", *work(options, Path(folder)), ""]
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"
    print(text)
    write_text(options.page, text)


if __name__ == "__main__":
    main()
