"""Detection rate of audio near-duplicates: copies made by ffmpeg against different clips.

python benchmarks/near_duplicates.py work/stores/world1
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from cign.data.prepare.near_duplicates import near_duplicates, sound_words
from cign.data.store import Store

NUM_COPIED, NUM_FIRST, NUM_OTHERS = 60, 400, 800
CUTS = {"by 0.31 s": 0.31, "by 16 ms": 0.016, "by 1 s": 1.0}
CODECS = {
    "MP3 at 64 kbit/s": ("-c:a", "libmp3lame", "-b:a", "64k"),
    "Opus at 24 kbit/s": ("-c:a", "libopus", "-b:a", "24k"),
    "MP3, 12 dB quieter": ("-af", "volume=-12dB", "-c:a", "libmp3lame", "-b:a", "64k"),
}


def recoded(samples: np.ndarray, rate_hz: int, arguments: tuple[str, ...]) -> np.ndarray:
    """Audio after encoding and decoding by ffmpeg, int16 [L]."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"]
    raw = ["-f", "s16le", "-ar", str(rate_hz), "-ac", "1"]
    coded = subprocess.run(
        [*command, *raw, "-i", "-", *arguments, "-f", "matroska", "-"],
        input=samples.tobytes(),
        capture_output=True,
        check=True,
    ).stdout
    decoded = subprocess.run(
        [*command, "-i", "-", *raw, "-"], input=coded, capture_output=True, check=True
    ).stdout
    return np.frombuffer(decoded, np.int16)[: len(samples)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("store", type=Path)
    store = Store.open(parser.parse_args().store)
    rate_hz = store.spec.rate_hz
    first, others = store.indices("train")[:NUM_FIRST], store.indices("test")[:NUM_OTHERS]
    sounds = [store.audio(np.array([row]))[0] for row in (*first, *others)]
    begun = time.monotonic()
    words = [sound_words(sound, rate_hz) for sound in sounds]
    each_ms = 1000 * (time.monotonic() - begun) / len(words)
    groups = [0] * len(first) + [1] * len(others)
    found = near_duplicates(*zip(*words, strict=True), groups)
    pairs = len(first) * len(others)
    print(f"{each_ms:.1f} ms per clip; different clips: {len(found)} of {pairs} pairs reported")
    copies = {
        name: [recoded(s, rate_hz, codec) for s in sounds[:NUM_COPIED]]
        for name, codec in CODECS.items()
    }
    aac = ("-c:a", "aac", "-b:a", "64k")
    for name, cut_s in CUTS.items():
        cut = round(cut_s * rate_hz)
        copies[f"AAC, cut {name}"] = [recoded(s[cut:], rate_hz, aac) for s in sounds[:NUM_COPIED]]
    rng = np.random.default_rng(0)
    copies["noise 20 dB below"] = [
        np.clip(s + 0.1 * s.std() * rng.normal(size=len(s)), -32768, 32767).astype(np.int16)
        for s in sounds[:NUM_COPIED]
    ]
    for name, made in copies.items():
        hits = 0
        for one, copy in zip(words, made, strict=False):
            pair = (one, sound_words(copy, rate_hz))
            hits += bool(near_duplicates(*zip(*pair, strict=True), [0, 1]))
        print(f"{name}: {hits} of {len(made)} copies found", flush=True)


if __name__ == "__main__":
    main()
