"""Profiles of preparing, training, leave-one-out, proposals, predicting, serving and starting up.

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
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
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
ENCODED, SELECTING, PROPOSING = 16, 1_500, 2_000  # clips


def decoding() -> tuple[Wrapped, ...]:
    """The steps of decoding a clip."""
    from cign.data.media.audio import SoundReader
    from cign.data.media.container import Media
    from cign.data.media.video import FrameReader

    media = import_module("cign.data.media.decode")  # the package has a function of this name
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
    from cign.data.media.decode import MediaSpec
    from cign.data.prepare.worker import Decoder

    media = import_module("cign.data.media.decode")
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


def encode(options: argparse.Namespace, folder: Path) -> list[str]:
    """Tokens of the packaged encoders, from frames and audio in memory."""
    from cign.backbones.hub.pair import HubPair
    from cign.backbones.packaged.accelerated import Accelerated
    from cign.backbones.packaged.sfx import SfxLogMel
    from cign.backbones.registry import load_backbone

    backbone = load_backbone("lite0+sfx")
    spec, rng = backbone.spec, np.random.default_rng(0)
    frames = (ENCODED, spec.num_frames, spec.frame_px, spec.frame_px, 3)
    visual = torch.from_numpy(rng.integers(0, 256, frames, dtype=np.uint8))
    audio = torch.from_numpy(rng.integers(-9000, 9000, (ENCODED, spec.num_samples), dtype=np.int16))

    def work() -> None:
        with torch.inference_mode():
            backbone.visual_tokens(visual)
            backbone.audio_tokens(audio)

    watch, whole_s = timed(
        work,
        (Accelerated, "forward", "convolutions of both encoders"),
        (SfxLogMel, "forward", "log-mel spectrogram"),
        (HubPair, "visual_tokens", "scale frames, reduce the map"),
        (HubPair, "audio_tokens", "scale audio, reduce the map"),
    )
    return [f"A batch of {ENCODED} clips.", "", *watch.table(whole_s, ENCODED, "clip")]


def made_tokens(folder: Path, num_clips: int, num_labels: int) -> Path:
    """A store of random tokens as those of `lite0+sfx`, 16 of each modality."""
    from cign.data.prepare.features import prepare_features

    rng = np.random.default_rng(0)
    labels = np.arange(num_clips) % num_labels
    features: dict[str, Any] = {"labels": np.array([f"class {label}" for label in labels])}
    for kind, width in (("audio", 512), ("visual", 1280)):
        means = rng.normal(size=(num_labels, 1, width))[labels]
        features[kind] = (0.1 * means + rng.normal(size=(num_clips, 16, width))).astype("f2")
    features["split"] = np.full(num_clips, "train")
    prepare_features(features, folder, encoders="made", progress=False)
    return folder


def leave_one_out(options: argparse.Namespace, folder: Path) -> list[str]:
    """Learning a task with the selection of its settings, with the recipe."""
    from cign.learner import Learner
    from cign.methods import leave_one_out as selecting
    from cign.methods.closed_form import ClosedForm
    from cign.networks import leave_out
    from cign.networks.ridge import RandomFeatures
    from cign.networks.token_ridge import TokenStatistics

    store = made_tokens(folder / "store", SELECTING, 24)
    learner = Learner("cign_analytic")
    watch, whole_s = timed(
        lambda: learner.learn(store, progress=False),
        (RandomFeatures, "forward", "random features"),
        (RandomFeatures, "project", "random features"),
        (TokenStatistics, "absorb", "sums of products"),
        (TokenStatistics, "fitted_rows", "rows of left-out clips"),
        (leave_out._System, "solved", "solutions for left-out clips"),
        (leave_out, "_corrected", "correction for each source"),
        (selecting, "losses_of_settings", "losses of the settings"),
        (selecting, "_losses", "scores without the sources"),
        (ClosedForm, "predict_left_out", "expected accuracy, with the selected settings"),
        (ClosedForm, "solve", "solution for all clips"),
        warm=False,
    )
    method = learner.model.method
    number = [method.of(name).settings.size for name in ("audio", "visual")]
    width = method.options.width
    lines = [
        f"{SELECTING:,} clips of 16 + 16 tokens, 24 classes, width {width:,}; {number[0]:,} "
        f"settings for audio and {number[1]:,} for video: {whole_s:.1f} s.",
        "",
    ]
    return [*lines, *watch.table(whole_s, SELECTING, "clip")]


def propose(options: argparse.Namespace, folder: Path) -> list[str]:
    """`next` on a store, with all tokens scored."""
    from cign.labelling import pool, proposing
    from cign.learner import Learner
    from cign.methods.closed_form import ClosedForm
    from cign.networks.ridge import RandomFeatures

    learned = made_tokens(folder / "learned", 120, 24)
    clips = made_tokens(folder / "pool", PROPOSING + 120, 24)
    learner = Learner("cign_analytic").learn(learned, progress=False)
    watch, whole_s = timed(
        lambda: learner.next(clips, number=100, progress=False),
        (RandomFeatures, "forward", "random features"),
        (RandomFeatures, "project", "random features"),
        (ClosedForm, "_grouped", "assignment and scores"),
        (pool, "margins", "margins"),
        (proposing, "whitened", "features of candidates, whitened"),
        (proposing, "choose", "choice of a design"),
        warm=False,
    )
    return [f"100 of {PROPOSING:,} clips.", "", *watch.table(whole_s, PROPOSING, "clip")]


def serve(options: argparse.Namespace, folder: Path) -> list[str]:
    """Requests to the server's application in this process, without sockets."""
    import asyncio

    import httpx

    from cign.backbones.small import SmallPair
    from cign.inference import predict as predictor
    from cign.open_set.evidence import EvidenceReader
    from cign.serving import answering
    from cign.serving.application import make_app
    from cign.serving.model_service import ModelService
    from cign.serving.server_state import ServerState
    from cign.serving.settings import Settings

    paths = make_clips(folder / "sent", options.clips)
    make_model(folder / "model")
    (folder / "uploads").mkdir()
    service = ModelService(folder / "model", device="cpu")
    state = ServerState(service, Settings(), folder / "uploads")
    state.start()
    bodies = [path.read_bytes() for path in paths]

    async def ask() -> None:
        transport = httpx.ASGITransport(make_app(state))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answers = await asyncio.gather(
                *(client.post("/predict", files={"file": ("a.mp4", body)}) for body in bodies)
            )
            assert all(answer.status_code == 200 for answer in answers), answers[0].text

    watch, whole_s = timed(
        lambda: asyncio.run(ask()),
        *decoding(),
        (SmallPair, "audio_tokens", "encode the audio"),
        (SmallPair, "visual_tokens", "encode the frames"),
        (EvidenceReader, "read", "predict from the tokens"),
        (predictor, "decode", "decode, other"),
        (answering, "described", "write the answers"),
        of_processors=True,
    )
    state.close()
    lines = [f"{len(paths)} requests at once, clips of 10 s; processor time of all threads.", ""]
    return [*lines, *watch.table(whole_s, len(paths), "request")]


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
    "encode": ("Tokens of `lite0+sfx`", encode),
    "step": ("A training step of `cign`, end to end", step),
    "closed_form": ("Closed-form learning on cached tokens", closed_form),
    "leave_one_out": ("Learning with leave-one-out selection", leave_one_out),
    "propose": ("Choosing clips to label", propose),
    "predict": ("Predicting with the small encoders", predict),
    "serve": ("Answering requests", serve),
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
