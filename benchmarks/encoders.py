"""Runtimes and precisions for the packaged encoders: clips per second, and distance to float32.

    python benchmarks/encoders.py [--seconds 20] [--batch 16]

times the convolutions of `lite0` and `sfx` in torch, onnxruntime and OpenVINO (if it is installed),
in turns and in one thread, by CPU time, so that other load on the machine has little effect; then
the encoders as `cign prepare` calls them, with preprocessing and reduction to 4 x 4 tokens.
Writes benchmarks/results/encoders.md.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cign.backbones.packaged.accelerated import BOUND, only_torch, onnx_bytes, open_session
from cign.backbones.registry import load_backbone
from cign.runs.record import machine

RESULTS = Path(__file__).parent / "results" / "encoders.md"
FLAGS = ("avx512f", "avx512_bf16", "amx_bf16")
PRODUCTS = "as `cign` runs it"


def media(backbone: Any, num_clips: int) -> tuple[Tensor, Tensor]:
    """Frames and audio of procedural clips of `cign synth`, decoded as the backbone needs them."""
    import tempfile

    from cign.data.media.decode import decode
    from cign.synthetic import SynthConfig, synthesize

    with tempfile.TemporaryDirectory() as folder:
        config = SynthConfig(
            num_classes=num_clips, num_train=1, num_val=0, num_test=0, duration_s=3.0, size_px=224
        )
        synthesize(Path(folder), config, num_workers=1)
        clips = [decode(path, backbone.spec) for path in sorted(Path(folder).rglob("*.mp4"))]
    frames = np.stack([clip.frames for clip in clips])
    return torch.from_numpy(frames), torch.from_numpy(np.stack([clip.audio for clip in clips]))


def runtimes(network: torch.nn.Module, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    """Ways to evaluate a network on an input; each returns its output map in float32."""
    channels_last = x.contiguous(memory_format=torch.channels_last)
    half = copy.deepcopy(network).bfloat16().to(memory_format=torch.channels_last)
    half_input, values = channels_last.bfloat16(), x.contiguous().numpy()
    found: dict[str, Callable[[], Tensor]] = {
        "torch, float32": lambda: network(channels_last),
        "torch, bfloat16": lambda: half(half_input).float(),
    }
    model = onnx_bytes(network, x.shape[1])
    session = open_session(model)
    found["onnxruntime, float32"] = lambda: torch.from_numpy(session.run(None, {"x": values})[0])
    if importlib.util.find_spec("openvino") is not None:
        import openvino

        core = openvino.Core()
        read = core.read_model(model)
        for name, hint in (("float32", "f32"), ("bfloat16", "bf16")):
            how = {
                "INFERENCE_PRECISION_HINT": hint,
                "INFERENCE_NUM_THREADS": 1,
                "PERFORMANCE_HINT": "LATENCY",
            }
            compiled = core.compile_model(read, "CPU", how)
            found[f"OpenVINO, {name}"] = lambda one=compiled: torch.from_numpy(
                np.array(one({"x": values})[0])
            )
    return found


def rates(ways: dict[str, Callable[[], Any]], num_clips: int, seconds: float) -> dict[str, float]:
    """Clips per second of CPU time, each from the fastest of its turns."""
    best = dict.fromkeys(ways, float("inf"))
    end = time.perf_counter() + seconds
    turns = 0
    while time.perf_counter() < end or turns < 4:
        for name, way in ways.items():
            began = time.process_time()
            way()
            best[name] = min(best[name], time.process_time() - began)
        turns += 1
    return {name: num_clips / took for name, took in best.items()}


def distance(found: Tensor, wanted: Tensor) -> tuple[float, float, float]:
    """Relative difference of all tokens and of the worst, and the lowest cosine similarity."""
    found, wanted = (x.double().flatten(2).transpose(1, 2).flatten(0, 1) for x in (found, wanted))
    seen = wanted.norm(dim=-1) > 1e-3 * wanted.norm(dim=-1).max()
    found, wanted = found[seen], wanted[seen]
    each = (found - wanted).norm(dim=-1) / wanted.norm(dim=-1)
    cosine = torch.cosine_similarity(found, wanted, dim=-1)
    whole = (found - wanted).norm() / wanted.norm()
    return float(whole), float(each.max()), float(cosine.min())


@torch.inference_mode()
def measure(backbone: Any, seconds: float, batch: int) -> list[str]:
    pair = backbone.inner
    frames, audio = media(backbone, batch)
    inputs = {
        "lite0": (pair.visual.network.network, pair.visual.to_input(frames).flatten(0, 1)),
        "sfx": (pair.audio.network.network, pair.audio.to_input(audio.float() / 32768)),
    }
    whole = {
        "lite0": lambda: backbone.visual_tokens(frames),
        "sfx": lambda: backbone.audio_tokens(audio),
    }
    lines = []
    for name, (network, x) in inputs.items():
        ways = runtimes(network, x)
        wanted = ways["torch, float32"]()
        found = rates({**ways, PRODUCTS: whole[name]}, len(x), seconds)
        fastest = max(rate for way, rate in found.items() if "float32" in way)
        for way, rate in found.items():
            far = ("", "", "") if way == PRODUCTS else distance(ways[way](), wanted)
            cells = [f"{value:.1e}" if value != "" else "" for value in far[:2]]
            cosine = "" if far[2] == "" else f"{far[2]:.5f}"
            lines.append(
                f"| `{name}` | {way} | {rate:.1f} | {rate / fastest:.2f} | {cells[0]} | {cells[1]} "
                f"| {cosine} |"
            )
        with only_torch():
            torch_tokens = whole[name]()
        worst = float(
            ((whole[name]() - torch_tokens).norm(dim=-1) / torch_tokens.norm(dim=-1)).max()
        )
        lines.append(
            f"| `{name}` | 4 x 4 tokens, onnxruntime against torch | | | | {worst:.1e} | |"
        )
    return lines


def flags(names: Sequence[str] = FLAGS) -> str:
    """Which of these vector and matrix units the processor reports."""
    path = Path("/proc/cpuinfo")
    known = set(path.read_text().split()) if path.exists() else set()
    return ", ".join(f"{name} {'yes' if name in known else 'no'}" for name in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="for each encoder (default 20)")
    parser.add_argument("--batch", type=int, default=16, help="clips of a batch (default: 16)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = measure(load_backbone("lite0+sfx@4x4+4x4"), arguments.seconds, arguments.batch)
    table = "\n".join(lines)
    RESULTS.write_text(
        f"""# Runtimes of the packaged encoders

`python benchmarks/encoders.py`

Processor: {machine()["processor"]}, one thread; {flags()}.
Clips per second of CPU time, one frame and 3 s of audio each, batches of {arguments.batch} clips of
`cign synth`. *Relative*: to the fastest runtime in float32. *Difference*: norm of the difference to
torch in float32, relative to the norm of the tokens of the map, for all of them and for the worst
one; *cosine*: the lowest similarity of a token.

| encoder | runtime | clips/s | relative | difference | worst token | cosine |
| --- | --- | ---: | ---: | ---: | ---: | ---: |
{table}

Chosen for all machines: float32, by onnxruntime where it is installed, by torch otherwise and on
GPUs; the two may differ by {BOUND:g} per token. For another precision a difference below 1e-2 and
a cosine above 0.9999 for every token were required; bfloat16 does not meet them.
""",
        encoding="utf-8",
    )
    print(table)


if __name__ == "__main__":
    main()
