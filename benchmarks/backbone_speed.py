"""Tokens, bytes per clip and clips per second of backbones with random weights.

    python benchmarks/backbone_speed.py vit-base+ast

builds the networks of published configurations with random weights (speed does not depend on the
weights) and times them on random clips in one thread. The release's ResNet-18 pair is timed before
and after in the same run, so that the ratio is valid on a busy machine. Takes one pair per run.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import torch
from transformers.initialization import no_init_weights

from cign.backbones.base import Backbone
from cign.backbones.hub.loading import Source
from cign.backbones.hub.pair import HubPair, load_pair
from cign.backbones.registry import load_backbone
from cign.data.prepare.token_making import bytes_per_clip, describe_bytes

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
# Configurations of the checkpoints named in docs/backbones.md; omitted values are the defaults of
PICTURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "resnet-18": (
        {
            "model_type": "resnet",
            "layer_type": "basic",
            "depths": [2, 2, 2, 2],
            "hidden_sizes": [64, 128, 256, 512],
        },
        {"size": {"shortest_edge": 224}, "crop_pct": 0.875, **IMAGENET},
    ),
    "vit-base": ({"model_type": "vit"}, {"size": {"height": 224, "width": 224}}),
    "dinov2-small": (
        {
            "model_type": "dinov2",
            "hidden_size": 384,
            "num_attention_heads": 6,
            "patch_size": 14,
            "image_size": 518,
        },
        {
            "size": {"shortest_edge": 256},
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            **IMAGENET,
        },
    ),
    "dinov2-base": (
        {"model_type": "dinov2", "patch_size": 14, "image_size": 518},
        {
            "size": {"shortest_edge": 256},
            "crop_size": {"height": 224, "width": 224},
            "do_center_crop": True,
            **IMAGENET,
        },
    ),
    "videomae-base": (
        {"model_type": "videomae"},
        {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, **IMAGENET},
    ),
}
SOUNDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ast": ({"model_type": "audio-spectrogram-transformer"}, {}),
    "clap": ({"model_type": "clap_audio_model"}, {"truncation": "rand_trunc"}),
}


def record(kinds: dict[str, Any], name: str) -> dict[str, Any]:
    """The record from which a network is built without its folder."""
    config, preprocessing = kinds[name]
    return Source(name=name, config=config, preprocessing=preprocessing).record


def rate(backbone: Backbone, seconds: float, batch_size: int) -> tuple[float, float, float]:
    """Clips per second of CPU time: both modalities, visual, audio; from the fastest batch.

    CPU time is used, not wall-clock time, so that other load on the machine has little effect.
    """
    spec = backbone.spec
    side = spec.frame_px
    frames = torch.randint(0, 256, (batch_size, spec.num_frames, side, side, 3), dtype=torch.uint8)
    audio = torch.randint(-9000, 9000, (batch_size, spec.num_samples), dtype=torch.int16)
    times = []
    for read, clips in ((backbone.visual_tokens, frames), (backbone.audio_tokens, audio)):
        best, spent = float("inf"), 0.0
        while spent < seconds / 2:
            began = time.process_time()
            read(clips)
            took = time.process_time() - began
            best, spent = min(best, took), spent + took
        times.append(best / batch_size)
    return 1 / sum(times), 1 / times[0], 1 / times[1]


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "pair", help=f"VISUAL+AUDIO of {', '.join(PICTURES)} and {', '.join(SOUNDS)}"
    )
    parser.add_argument("--seconds", type=float, default=6.0, help="CPU time (default: 6)")
    parser.add_argument("--batch", type=int, default=1, help="batch size (default: 1)")
    arguments = parser.parse_args()
    visual, audio = arguments.pair.split("+")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    both = {"visual": record(PICTURES, visual), "audio": record(SOUNDS, audio)}
    with no_init_weights():  # the default initialisation takes longer than the timing
        pair: HubPair = load_pair(visual, audio, arguments.pair, weights=False, record=both)
    for weight in pair.eval().parameters():
        weight.normal_(std=0.02)
    release = load_backbone("resnet18-random")
    before = rate(release, arguments.seconds / 4, arguments.batch)[0]
    found = rate(pair, arguments.seconds, arguments.batch)
    after = rate(release, arguments.seconds / 4, arguments.batch)[0]
    reference = max(before, after)
    spec = pair.spec
    print(f"{arguments.pair}, one thread, batch {arguments.batch}, load {os.getloadavg()[0]:.1f}")
    print(
        f"takes {spec.num_frames} frames of {spec.frame_px} px, {spec.window_s:g} s at "
        f"{spec.rate_hz} Hz"
    )
    moments = pair.num_visual_tokens // (pair.visual_grid[0] * pair.visual_grid[1])
    print(
        f"visual: {moments} x {pair.visual_grid[0]} x {pair.visual_grid[1]} tokens of "
        f"{pair.visual_dim}, audio: {pair.audio_grid[0]} x {pair.audio_grid[1]} of "
        f"{pair.audio_dim}: {describe_bytes(bytes_per_clip(pair))} per clip"
    )
    print(
        f"release's pair: {reference:.2f} clips per second of CPU time ({before:.2f}, {after:.2f})"
    )
    for what, clips in zip(("both", "visual", "audio"), found, strict=True):
        print(f"{what}: {clips:.2f}, {clips / reference:.3f} of the release's pair")


if __name__ == "__main__":
    main()
