"""Difficulty of a synthetic dataset: raw classifier, probe of the small encoders, and limit.

    python benchmarks/world.py --worlds 1,1001,1002,1003,1004

Datasets 2-6 are reserved for tables and refused. Clips are encoded with H.264 and AAC in memory;
only the middle frame is rendered, because only that frame is used.
"""

from __future__ import annotations

import argparse
import platform
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import spectrogram
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV, RidgeClassifierCV

from cign.backbones.pretrain.data import PretrainSet, middle_frames, render_set
from cign.backbones.small import SHIPPED_WEIGHTS, load_small_pair
from cign.synthetic import SynthConfig, plan
from cign.synthetic.config import GENERATOR_VERSION
from cign.utils.progress import Silent

FOR_TABLES = range(2, 7)
Features = NDArray[np.float64]


def raw_features(clips: PretrainSet) -> Features:
    """A 32x32 RGB frame and a 64x32 log spectrogram, flattened, ``[N, 3072 + 2048]``."""
    frames = clips.frames[:, 0]
    side = frames.shape[1] // 32
    small = frames.reshape(len(frames), 32, side, 32, side, 3).mean(axis=(2, 4))
    rows = []
    for wave in clips.audio:
        power = spectrogram(wave / 32768.0, nperseg=512, noverlap=256)[2]
        log = np.log(power[:256] + 1e-7)
        width = log.shape[1] // 32
        rows.append(log[:, : 32 * width].reshape(64, 4, 32, width).mean(axis=(1, 3)).ravel())
    return np.hstack([small.reshape(len(frames), -1) / 255.0, np.array(rows)])


@torch.inference_mode()
def pooled_tokens(clips: PretrainSet, weights: Path) -> tuple[Features, Features]:
    """The mean audio and the mean visual token of each clip, each ``[N, 192]``."""
    encoders = load_small_pair(weights)
    means = []
    for encoder, inputs in zip(encoders, (clips.audio, clips.frames), strict=True):
        batches = [torch.from_numpy(inputs[i : i + 64]) for i in range(0, len(inputs), 64)]
        means.append(torch.cat([encoder(batch).mean(1) for batch in batches]).double().numpy())
    return means[0], means[1]


def accuracy(
    features: Features, labels: NDArray[np.int64], is_train: NDArray[np.bool_]
) -> tuple[float, float]:
    """Test accuracy in percent of ridge and logistic regression, regularisation by CV."""
    train, test = features[is_train], features[~is_train]
    mean, std = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, test = (train - mean) / std, (test - mean) / std
    if train.shape[1] > len(train):  # the same solution in the span of the training clips
        basis = np.linalg.svd(train, full_matrices=False)[2]
        train, test = train @ basis.T, test @ basis.T
    ridge = RidgeClassifierCV(alphas=np.logspace(0, 6, 13))
    logistic = LogisticRegressionCV(Cs=np.logspace(-6, 1, 8), cv=3, max_iter=150, n_jobs=1)
    results = []
    for model in (ridge, logistic):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", FutureWarning)
            model.fit(train, labels[is_train])
        results.append(100.0 * float(np.mean(model.predict(test) == labels[~is_train])))
    return results[0], results[1]


def row(world: int, options: argparse.Namespace) -> list[str]:
    """Measure one dataset."""
    config = SynthConfig(
        world=world, num_classes=options.classes, num_train=60, num_val=0, num_test=options.test
    )
    clips = plan(config)
    is_train = np.array([clip.split == "train" for clip in clips])
    data = render_set(clips, config.num_classes, middle_frames(1), num_workers=2, progress=Silent())
    audio, visual = pooled_tokens(data, options.weights)
    ridge = logistic = float("nan")
    if options.raw:
        ridge, logistic = accuracy(raw_features(data), data.labels, is_train)
    pooled = (audio, visual, np.hstack([audio, visual]))
    probes = [accuracy(x, data.labels, is_train)[1] for x in pooled]
    numbers = [ridge, logistic, *probes, 100.0 * config.limit]
    return [str(world), *(f"{n:.1f}" if np.isfinite(n) else "-" for n in numbers)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", default="1,1001,1002,1003,1004")
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--test", type=int, default=40, help="test clips per class")
    parser.add_argument("--weights", type=Path, default=SHIPPED_WEIGHTS)
    parser.add_argument("--no-raw", dest="raw", action="store_false")
    options = parser.parse_args()
    worlds = [int(world) for world in options.worlds.split(",")]
    if set(worlds) & set(FOR_TABLES):
        parser.error("--worlds 2-6 are reserved for tables: use others, for example 1")
    print(
        f"Generator version {GENERATOR_VERSION}, {options.classes} classes, 60 training and "
        f"{options.test} test clips each; {platform.processor() or platform.machine()}.\n"
    )
    header = ("world", "raw ridge", "raw logistic", "audio", "visual", "audio-visual", "limit")
    print("| " + " | ".join(header) + " |")
    print("| --- " * len(header) + "|")
    for world in worlds:
        print("| " + " | ".join(row(world, options)) + " |", flush=True)


if __name__ == "__main__":
    main()
