"""Copies of a store's test clips with noise in one modality, or with one modality removed.

    python benchmarks/degraded.py work/stores/world2 [--to work/stores]

makes ``world2-sound20db`` to ``world2-sound-10db`` (white noise added to the audio at this
signal-to-noise ratio in each clip), ``world2-picture16`` to ``world2-picture128`` (Gaussian noise
on every pixel and channel, standard deviation in levels of 255), and ``world2-soundless`` and
``world2-pictureless``, with tokens of the backbone. The stores are for ``cign bench --test-store``
and have no training clips. Existing stores are skipped.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cign.backbones.registry import load_backbone
from cign.data.arrays import RowWriter, create_array
from cign.data.clip_file import write_table
from cign.data.intact import checksum
from cign.data.media.decode import content_hash
from cign.data.prepare.token_making import make_tokens
from cign.data.store import Store, frames_shape
from cign.utils.files import write_json

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
RATIOS_DB = (20, 10, 0, -10)
LEVELS = (16, 32, 64, 128)


def with_sound_noise(audio: np.ndarray, rng: np.random.Generator, ratio_db: float) -> np.ndarray:
    """Add white noise at a signal-to-noise ratio in dB, int16 [L]; silence stays silent."""
    samples = audio.astype(np.float64)
    power = np.sqrt((samples**2).mean()) * 10 ** (-ratio_db / 20)
    noisy = samples + power * rng.standard_normal(len(samples))
    # Out-of-range audio is scaled down as a whole, because clipping would distort it.
    loudest = np.abs(noisy).max()
    noisy *= min(1.0, 32767 / loudest) if loudest else 1.0
    return noisy.round().astype(np.int16)


def with_picture_noise(frames: np.ndarray, rng: np.random.Generator, level: float) -> np.ndarray:
    """Add Gaussian noise to frames, uint8 [K, S, S, 3]."""
    noisy = frames + level * rng.standard_normal(frames.shape)
    return noisy.round().clip(0, 255).astype(np.uint8)


def variants() -> dict[str, dict[str, Change | None]]:
    """Changes by modality, by suffix of the store's name; None removes the modality."""
    found: dict[str, dict[str, Change | None]] = {}
    for ratio in RATIOS_DB:
        found[f"sound{ratio}db"] = {"audio": partial(with_sound_noise, ratio_db=ratio)}
    for level in LEVELS:
        found[f"picture{level}"] = {"frames": partial(with_picture_noise, level=level)}
    return {**found, "soundless": {"audio": None}, "pictureless": {"frames": None}}


def degrade(store: Store, folder: Path, changes: dict[str, Change | None], backbone: Any) -> None:
    """Write the copy; ``store.json`` is written last and makes it a valid store."""
    folder.mkdir(parents=True)
    test = store.indices("test")
    table = pq.read_table(store.folder / "clips.parquet").take(pa.array(test))
    removed = {name for name, change in changes.items() if change is None}
    has = {
        "audio": store.audio_ok[test] & ("audio" not in removed),
        "frames": store.visual_ok[test] & ("frames" not in removed),
    }
    hashes = []
    shape = (len(test), store.spec.num_samples)
    create_array(folder / "audio.npy", shape, "int16")
    create_array(folder / "frames.npy", frames_shape(len(test), store.spec), "uint8")
    with (
        RowWriter(folder / "audio.npy") as audio_file,
        RowWriter(folder / "frames.npy") as frames_file,
    ):
        for row, index in enumerate(test):
            parts = {"audio": store.audio([index])[0], "frames": store.frames([index])[0]}
            for name, change in changes.items():
                rng = np.random.default_rng((7, row))
                own = parts[name]
                parts[name] = np.zeros_like(own) if change is None else change(own, rng)
            audio_file.write(row, parts["audio"][None])
            frames_file.write(row, parts["frames"][None])
            available = bool(has["audio"][row]), bool(has["frames"][row])
            hashes.append(content_hash(parts["frames"], parts["audio"], *available))
    columns = {
        "row": pa.array(range(len(test))),
        "content_hash": pa.array(hashes),
        "audio_ok": pa.array(has["audio"]),
        "visual_ok": pa.array(has["frames"]),
    }
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    write_table(folder / "clips.parquet", table)
    for name in ("problems.parquet", "report.json"):
        shutil.copy(store.folder / name, folder / name)
    write_json(
        folder / "store.json",
        {
            **store.info,
            "num_rows": len(test),
            "num_clips": len(test),
            "checksums": {"clips.parquet": checksum(folder / "clips.parquet")},
        },
    )
    make_tokens(Store.open(folder), backbone)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--to", type=Path, default=Path("work/stores"))
    parser.add_argument("--backbone", default="small")
    arguments = parser.parse_args()
    backbone = load_backbone(arguments.backbone)
    for path in arguments.stores:
        store = Store.open(path)
        for end, changes in variants().items():
            folder = arguments.to / f"{path.name}-{end}"
            if not (folder / "tokens" / arguments.backbone / "tokens.json").exists():
                shutil.rmtree(folder, ignore_errors=True)
                degrade(store, folder, changes, backbone)
            print(folder, flush=True)


if __name__ == "__main__":
    main()
