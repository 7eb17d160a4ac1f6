"""Audio that ffmpeg encoded again is found; others are not."""

from itertools import pairwise

import numpy as np
import pytest

from benchmark_scripts import script
from cign.data.prepare.inspection import inspect_source
from cign.data.prepare.near_duplicates import near_duplicates, sound_words

RATE = 16000


def melody(seed, seconds=4.0):
    """Tones that come and go over noise, drawn by a seed: int16 [L]."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    x = 0.02 * rng.normal(size=len(t))
    for _ in range(25):
        begin, pitch = rng.uniform(0, seconds), rng.uniform(200, 3500)
        x += np.exp(-4 * np.clip(t - begin, 0, None)) * (t >= begin) * np.sin(2 * np.pi * pitch * t)
    return (8000 * x / np.abs(x).max()).astype(np.int16)


def recoded(samples, *arguments):
    """What is left of the audio after ffmpeg encoded and decoded it."""
    return script("near_duplicates").recoded(samples, RATE, arguments)


@pytest.mark.parametrize(
    ("arguments", "shift_s"),
    [
        (("-c:a", "libmp3lame", "-b:a", "64k"), 0.0),
        (("-c:a", "libopus", "-b:a", "32k"), 0.0),
        (("-af", "volume=-12dB", "-c:a", "aac", "-b:a", "96k"), 0.0),
        (("-c:a", "aac", "-b:a", "96k"), 0.61),
    ],
)
def test_copies_are_found_and_their_shift(arguments, shift_s):
    found = 0
    for seed in range(5):
        samples = melody(seed)
        copy = recoded(samples[round(shift_s * RATE) :], *arguments)
        pair = [sound_words(part[: 3 * RATE], RATE) for part in (samples, copy)]
        result = near_duplicates(*zip(*pair, strict=True), groups=[0, 1])
        assert len(result) <= 1
        for one in result:
            assert (one.first, one.second) == (0, 1)
            assert abs(one.shift_s + shift_s) < 0.07  # the coder's own delay
        found += len(result)
    assert found >= 4


def test_other_sounds_are_not_and_one_group_is_not_compared():
    words, loud = zip(*(sound_words(melody(seed, 3.0), RATE) for seed in range(40)), strict=True)
    assert near_duplicates(words, loud, [seed % 2 for seed in range(40)]) == []
    assert near_duplicates([words[0]] * 2, [loud[0]] * 2, [0, 0]) == []
    twice = near_duplicates([words[0]] * 2, [loud[0]] * 2, [0, 1])
    assert [(one.shift_s, one.bit_errors) for one in twice] == [(0.0, 0.0)]


def test_words_follow_their_definition():
    samples = melody(3)
    words, loud = sound_words(samples, RATE)
    assert words.shape == ((len(samples) - 4096) // 512, 4)
    assert loud[20]
    # The 20th moment in float64 by hand.
    edges = np.round(np.geomspace(300, 3000, 34) * 4096 / RATE).astype(int)
    energies = []
    for moment in (20, 21):
        part = samples[512 * moment : 512 * moment + 4096] / 32768 * np.hanning(4096)
        power = np.abs(np.fft.rfft(part)) ** 2
        energies.append([power[a:b].sum() for a, b in pairwise(edges)])
    before, now = (np.array(e)[:-1] - np.array(e)[1:] for e in energies)
    assert int(words[20, 0]) == sum(1 << k for k in range(32) if now[k] > before[k])
    weakest = int(np.argmin(np.abs(now - before)))
    assert int(words[20, 1]) == int(words[20, 0]) ^ (1 << weakest)


@pytest.mark.parametrize("samples", [np.zeros(48000, np.int16), np.zeros(100, np.int16)])
def test_silence_and_hardly_anything_say_nothing(samples):
    words, loud = sound_words(samples, RATE)
    assert not loud.any()
    assert near_duplicates([words] * 2, [loud] * 2, [0, 1]) == []


def test_inspect_tells_of_them_across_splits(tmp_path):
    from scipy.io import wavfile

    copies = {"train/a/1": melody(1), "train/b/2": melody(2), "test/b/3": melody(3)}
    copies["test/a/4"] = recoded(melody(1), "-c:a", "libmp3lame", "-b:a", "96k")
    copies["train/a/5"] = copies["train/a/1"]  # in the same split: not told here
    for name, samples in copies.items():
        path = tmp_path / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wavfile.write(path, RATE, samples)
    found = inspect_source(tmp_path, decode_files=True, num_workers=1).near_duplicates
    assert [(one["clip"], one["other"]) for one in found] == [
        ("train/a/1.wav", "test/a/4.wav"),
        ("train/a/5.wav", "test/a/4.wav"),
    ]
    assert found[0]["split"] == "train"
    assert found[0]["other_split"] == "test"
