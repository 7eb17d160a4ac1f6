"""Training and closed-form learning on a GPU, relative to its matrix-product throughput.

    python benchmarks/gpu.py [--rounds 20]          # make bench-gpu

Uses one GPU, timed by CUDA events. The reference is a product of 8192 x 8192 matrices in bfloat16
(`cign` end to end) or of rounded matrices in float32 (`cign_analytic`), measured on the same GPU in
the same run; the operations of a step are counted by torch's flop counter. Steps run with CUDA's
synchronisation check enabled: a step that makes the host wait fails. The largest batch is found by
doubling. Writes ``benchmarks/results/gpu.md``; without a GPU it prints one sentence.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.append(str(Path(__file__).parent / "speed"))

from cached import SHAPES, learner
from step import CLASSES, cign_method, cign_step, clips

from cign.layers.rounding import rounded_products
from cign.methods.base import Batch
from cign.utils.files import write_text

PAGE = Path(__file__).with_name("results") / "gpu.md"
SIDE = 8192


def moved(batch: Batch, device: str) -> Batch:
    """The batch on a device; indices stay on the CPU."""
    names = ("audio", "visual", "targets", "from_memory")
    return replace(batch, **{name: getattr(batch, name).to(device) for name in names})


def end_to_end(num_clips: int, num_classes: int, device: str) -> Callable[[], None]:
    """A training step of `cign` with the release's pair, bfloat16."""
    method = cign_method(num_classes, bf16=True).to(device)
    backbone = method.network.encoder.backbone
    assert backbone is not None
    return cign_step(method, moved(clips(num_clips, num_classes, backbone), device))


def closed_form(num_clips: int, num_classes: int, device: str) -> Callable[[], None]:
    """Closed-form learning of a batch of cached tokens of the release's pair."""
    method, batch, phase = learner(SHAPES["ResNet-18 pair"], num_classes, num_clips)
    method, batch = method.to(device), moved(batch, device)

    def learn() -> None:
        method.learn(batch, phase)

    return learn


CASES = (
    ("`cign` end to end", end_to_end, CLASSES[0], 128, torch.bfloat16),
    ("`cign` end to end", end_to_end, CLASSES[1], 128, torch.bfloat16),
    ("`cign_analytic`, cached tokens", closed_form, 36, 256, torch.float32),
    ("`cign_analytic`, cached tokens", closed_form, 1000, 256, torch.float32),
)


def flops(work: Callable[[], object]) -> int:
    """Floating point operations of the matrix products and convolutions of a step."""
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops()


@contextmanager
def no_waiting() -> Iterator[None]:
    """Raise an error if the host would wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Median seconds of several rounds, by CUDA events."""
    for _ in range(3):
        work()
    pairs = []
    torch.cuda.synchronize()
    with no_waiting():
        for _ in range(rounds):
            begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begun.record()
            work()
            ended.record()
            pairs.append((begun, ended))
    torch.cuda.synchronize()
    return statistics.median(begun.elapsed_time(ended) for begun, ended in pairs) / 1e3


def product_rate(dtype: torch.dtype, rounds: int) -> float:
    """Operations per second of matrix products."""
    a, b = (torch.randn(SIDE, SIDE, device="cuda", dtype=dtype) for _ in range(2))
    with rounded_products(dtype == torch.float32):  # as in the sums of `cign_analytic`
        return 2 * SIDE**3 / seconds(lambda: a @ b, rounds)


def largest_batch(build: Callable[[int], Callable[[], object]], first: int) -> int:
    """The largest batch of ``first``, 2 ``first``, ... that fits on the GPU; 0 if none fits."""
    fits, size = 0, first
    while True:
        try:
            build(size)()
            torch.cuda.synchronize()
        except torch.OutOfMemoryError:
            return fits
        finally:
            torch.cuda.empty_cache()
        fits, size = size, 2 * size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=20, help="timed steps")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU that torch can use: nothing was measured or written.")
        return
    rates = {d: product_rate(d, options.rounds) for d in (torch.bfloat16, torch.float32)}
    lines = [
        "# On a GPU",
        "",
        f"`python benchmarks/gpu.py`: {torch.cuda.get_device_name()}, torch {torch.__version__}; "
        f"median of {options.rounds} steps. Products of {SIDE:,} x {SIDE:,} matrices: "
        + ", ".join(f"{rate / 1e12:.1f} TFLOP/s in {d}" for d, rate in rates.items())
        + ". No step made the host wait.",
        "",
        "| | classes | batch | clips/s | share of the products | memory, MB | largest batch |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, build, num_classes, size, dtype in CASES:
        work = build(size, num_classes, "cuda")
        torch.cuda.reset_peak_memory_stats()
        step_s = seconds(work, options.rounds)
        held_mb = torch.cuda.max_memory_allocated() / 1e6
        share = flops(work) / step_s / rates[dtype]
        del work
        most = largest_batch(lambda n, b=build, c=num_classes: b(n, c, "cuda"), size)
        lines.append(
            f"| {name} | {num_classes:,} | {size} | {size / step_s:,.0f} | {100 * share:.1f} % "
            f"| {held_mb:,.0f} | {most:,} |"
        )
    text = "\n".join(lines) + "\n"
    print(text)
    write_text(options.page, text)


if __name__ == "__main__":
    main()
