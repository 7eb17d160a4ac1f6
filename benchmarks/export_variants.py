"""Precisions and runtimes of exported models: size, accuracy, agreement and clips per second.

    CIGN_REAL=FOLDER python benchmarks/export_variants.py [--seconds 20] [--clips 96]

Two models of `cign_analytic` on `lite0+sfx`: of world 1 (its store and clips are of `make
stores`), and of real24_clutter in CIGN_REAL, of the first 12 training clips of each class in
clips.csv. A model in work/export is used again. Each is exported once in float32; the other
precisions are made from that file, as `cign export --precision` makes them. Labels are compared on
test clips of world 1 and on validation clips of real24_clutter, which neither training nor
calibration used. Time is that of the process on one thread, in turns, one clip at a time as
`predict.py` runs it, without decoding. OpenVINO is measured if it is installed. Writes
benchmarks/results/export.md.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoders import flags

from cign.data.media.decode import Decoded, MediaSpec, decode
from cign.export.checking import inputs_of, rendered_clips
from cign.export.exporting import export_model
from cign.export.formats import FILES, Runner, runner
from cign.export.precision import reduce
from cign.export.predictor import OUTPUTS, Predictor, in_float32, predictor_of
from cign.learner import Learner
from cign.runs.record import machine
from cign.vocabulary import MODALITIES

ROOT = Path(__file__).parent.parent
WORK, STORES = ROOT / "work" / "export", ROOT / "work" / "stores"
RESULTS = Path(__file__).parent / "results" / "export.md"
NUM_TRAINED = 12  # training clips of each class of real24_clutter
NUM_CALIBRATED = 32
FLAGS = ("avx512f", "avx512_vnni", "amx_int8")


@dataclass(frozen=True)
class Set:
    """Clips by split, and the run that learned them."""

    name: str
    run: Path
    rows: list[dict[str, str]]
    media: Path

    def decoded(self, split: str, number: int, spec: MediaSpec) -> tuple[list[Decoded], list[str]]:
        """Clips of a split, spread over the list, with their labels."""
        rows = [row for row in self.rows if row["split"] == split]
        rows = [rows[int(i)] for i in np.linspace(0, len(rows) - 1, min(number, len(rows)))]
        clips = [decode(self.media / row["path"], spec) for row in rows]
        return clips, [row["labels"] for row in rows]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cign(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "cign", *map(str, words)], check=True)


def generated(stores: Path) -> Set:
    """World 1."""
    media, run = stores / "world1-clips", WORK / "world1"
    if not run.exists():
        cign("train", stores / "world1", "--out", run)
    return Set("generated, world 1, test clips", run, read(media / "clips.csv"), media)


def real(built: Path) -> Set:
    """The first training clips of each class of real24_clutter; its validation clips are tested."""
    media, folder, counts = built / "real24_clutter", WORK / "real24_clutter", Counter[str]()
    rows = []
    for row in read(media / "clips.csv"):
        counts[row["labels"]] += row["split"] == "train"
        kept = {name: row[name] for name in ("path", "labels", "split", "source")}
        if row["split"] == "train" and counts[row["labels"]] <= NUM_TRAINED:
            rows.append(kept)
        if row["split"] == "val":
            rows.append({**kept, "split": "test"})
    if not (folder / "run").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        store = folder / "store"
        cign("prepare", folder / "clips.csv", store, "--media", media, "--backbone", "lite0+sfx")
        cign("train", store, "--out", folder / "run")
    return Set("real24_clutter, validation clips", folder / "run", rows, media)


@dataclass(frozen=True)
class Variant:
    """A file, or the network in torch, and what runs it."""

    name: str
    run: Runner
    num_bytes: int


def torch_runner(network: Predictor) -> Runner:
    def run(waveform: Any, frames: Any) -> dict[str, Any]:
        with torch.inference_mode():
            values = network(torch.from_numpy(waveform), torch.from_numpy(frames))
        return {name: part.numpy() for name, part in zip(OUTPUTS, values, strict=True)}

    return run


def openvino_runner(path: Path, hint: str) -> Runner:
    import openvino

    how = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(path, "CPU", how)

    def run(waveform: Any, frames: Any) -> dict[str, Any]:
        found = compiled({"waveform": waveform, "frames": frames})
        return {name: np.array(found[name]) for name in OUTPUTS}

    return run


def exports(learner: Learner, folder: Path, calibration: Sequence[Decoded]) -> list[Variant]:
    """All variants of a model."""
    model, backbone = learner.model, learner.model.load_backbone()
    if not (folder / "fp32").exists():
        export_model(model, backbone, folder / "fp32")
    network = predictor_of(in_float32(model), backbone)
    made = [Variant("torch, float32", torch_runner(network), 0)]
    source = folder / "fp32" / FILES["onnx"]
    files = {"fp32": source}
    variants: dict[str, tuple[str, Sequence[Decoded]]] = {
        "fp16": ("fp16", ()),
        f"int8, calibrated on {len(calibration)} clips of the set": ("int8", calibration),
        "int8, calibrated on the 25 synthetic clips": ("int8", rendered_clips(model.spec)[::2]),
    }
    for number, (name, (precision, clips)) in enumerate(variants.items()):
        files[name] = folder / f"{precision}-{number}" / FILES["onnx"]
        if not files[name].exists():
            files[name].parent.mkdir(exist_ok=True)
            shutil.copy2(source, files[name])
            reduce(files[name], precision, network, clips)
    for name, path in files.items():
        size = path.stat().st_size
        made.append(Variant(f"onnxruntime, {name}", runner("onnx", path.parent), size))
    if importlib.util.find_spec("openvino") is not None:
        int8 = next(name for name in files if name.startswith("int8"))
        for name, path, hint in (
            ("OpenVINO, float32", source, "f32"),
            ("OpenVINO, bfloat16", source, "bf16"),
            ("OpenVINO, int8 as above", files[int8], "f32"),
        ):
            made.append(Variant(name, openvino_runner(path, hint), path.stat().st_size))
    return made


def rates(variants: Sequence[Variant], clips: Sequence[Decoded], seconds: float) -> list[float]:
    """Clips per second of CPU time, of the fastest call of each, in turns."""
    best = [float("inf")] * len(variants)
    end, turn = time.perf_counter() + seconds, 0
    while time.perf_counter() < end or turn < 5:
        given = inputs_of([clips[turn % len(clips)]])
        for number, variant in enumerate(variants):
            began = time.process_time()
            variant.run(**given)
            best[number] = min(best[number], time.process_time() - began)
        turn += 1
    return [1.0 / value for value in best]


def outputs(variant: Variant, clips: Sequence[Decoded], cache: Path) -> dict[str, Any]:
    """The outputs for clips; those of an earlier call if they are in the cache."""
    number = sha256(f"{variant.name} {len(clips)}".encode()).hexdigest()[:8]
    path = cache / f"outputs-{number}.npz"
    if not path.exists():
        parts = [variant.run(**inputs_of(clips[i : i + 8])) for i in range(0, len(clips), 8)]
        np.savez(path, **{name: np.concatenate([part[name] for part in parts]) for name in OUTPUTS})
    return dict(np.load(path, allow_pickle=False))


def measure(one: Set, num_clips: int, seconds: float) -> list[str]:
    """Rows of the table of a set."""
    learner = Learner.load(one.run, device="cpu")
    spec, classes = learner.model.media_spec, list(learner.model.classes)
    calibration, _ = one.decoded("train", NUM_CALIBRATED, spec)
    clips, labels = one.decoded("test", num_clips, spec)
    truth = np.array([classes.index(label) for label in labels])
    folder = one.run.parent / f"{one.run.name}-export"
    variants = exports(learner, folder, calibration)
    base = [variant.name == "onnxruntime, fp32" for variant in variants].index(True)
    expected = outputs(variants[base], clips, folder)
    speeds, lines = rates(variants, clips[:16], seconds), []
    for variant, speed in zip(variants, speeds, strict=True):
        found = outputs(variant, clips, folder)
        best = {name: found[name].argmax(axis=1) for name in MODALITIES}
        accuracy = [f"{100 * (best[name] == truth).mean():.1f}" for name in MODALITIES]
        same = [f"{100 * (best[n] == expected[n].argmax(axis=1)).mean():.1f}" for n in MODALITIES]
        far = np.abs(found["audio_visual"] - expected["audio_visual"]).max(axis=1)
        unknown = np.abs(found["unknown_audio_visual"] - expected["unknown_audio_visual"])
        size = f"{variant.num_bytes / 1e6:.1f}" if variant.num_bytes else ""
        cells = [variant.name, size, f"{speed:.1f}", f"{speed / speeds[base]:.2f}"]
        cells += [" / ".join(accuracy), " / ".join(same)]
        cells += [f"{value:.1e}" for value in (far.mean(), far.max(), unknown.mean())]
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    return [f"\n## {one.name}: {len(classes)} classes, {len(clips)} clips\n", HEAD, *lines]


HEAD = """\
| runtime and precision | MB | clips/s | relative | accuracy, % (audio / visual / audio-visual) \
| label of fp32, % (likewise) | mean difference | largest | unknown score |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="of timing for each set")
    parser.add_argument("--clips", type=int, default=96, help="tested clips of each set")
    parser.add_argument("--stores", type=Path, default=STORES, help="folder of `make stores`")
    options = parser.parse_args()
    torch.set_num_threads(1)
    makers: list[Callable[[], Set]] = [lambda: generated(options.stores)]
    if "CIGN_REAL" in os.environ:
        makers.append(lambda: real(Path(os.environ["CIGN_REAL"])))
    lines: list[str] = []
    for make in makers:
        lines += measure(make(), options.clips, options.seconds)
        RESULTS.write_text(page(lines), encoding="utf-8")


def page(lines: Sequence[str]) -> str:
    import onnxruntime

    runtimes = f"onnxruntime {onnxruntime.__version__}, torch {torch.__version__}"
    if importlib.util.find_spec("openvino") is not None:
        from importlib.metadata import version

        runtimes += f", OpenVINO {version('openvino')}"
    return f"""# Precisions and runtimes of exported models

`CIGN_REAL=work/real python benchmarks/export_variants.py`

Models of `cign_analytic` on `lite0+sfx`, exported with `--precision`.
Clips per second of CPU time: encoders and method, one clip at a time, one thread, without
decoding; *relative* to onnxruntime in fp32. *Difference*: the largest difference of an audio-visual
probability from that file's, mean and maximum over clips; *unknown score*: mean difference of the
audio-visual one. The clips of the table were used neither in training nor to calibrate.
Processor: {machine()["processor"]}; {flags(FLAGS)}; {runtimes}.
{chr(10).join(lines)}
"""


if __name__ == "__main__":
    main()
