"""Draw docs/images/synthetic.png: frames and spectrograms of classes of a synthetic dataset.

python benchmarks/contact_sheet.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from cign.synthetic import SynthConfig, SyntheticDataset, plan, render_audio, render_frames

NUM_CLASSES, NUM_FRAMES, SIZE_PX = 8, 3, 144
OUT = Path(__file__).parent.parent / "docs" / "images" / "synthetic.png"


def main() -> None:
    world = SyntheticDataset(1)
    config = SynthConfig(num_classes=NUM_CLASSES, num_train=12, size_px=SIZE_PX)
    true = [c for c in plan(config) if c.split == "train" and c.condition == "true"]
    figure, axes = plt.subplots(
        NUM_FRAMES + 1,
        NUM_CLASSES,
        figsize=(NUM_CLASSES * 1.25, NUM_FRAMES * 1.25 + 1.1),
        height_ratios=[1.0] * NUM_FRAMES + [0.72],
        gridspec_kw={"hspace": 0.04, "wspace": 0.04},
    )
    for class_id, name in enumerate(world.names(NUM_CLASSES)):
        clips = [clip for clip in true if clip.class_ids[0] == class_id][:NUM_FRAMES]
        for axis, clip in zip(axes[:, class_id], clips, strict=False):
            axis.imshow(render_frames(world, clip, [18])[0][0])
        axes[0, class_id].set_title(name, fontsize=9)
        wave = render_audio(world, clips[0]) / 32768.0
        wave = wave + 1e-4 * np.sin(np.arange(len(wave)) ** 2)  # a floor for the logarithm
        axes[-1, class_id].specgram(wave, NFFT=512, noverlap=384, Fs=16_000, cmap="magma")
        axes[-1, class_id].set_aspect("auto")
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
        for side in axis.spines.values():
            side.set_visible(False)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT, dpi=80, bbox_inches="tight", pad_inches=0.05)
    plt.close(figure)


if __name__ == "__main__":
    main()
