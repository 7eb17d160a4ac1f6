"""Windows over a whole file."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cign.data.media.decode import MediaError, MediaSpec, decode
from cign.data.media.windows import decode_windows

from .conftest import ffmpeg, sound_by_ffmpeg

SPEC = MediaSpec(num_frames=3, frame_px=96, rate_hz=16000)
PICTURES = [
    *("plain.mp4", "vp9.webm", "live.webm", "mpeg4.avi", "ten_bit.mp4", "hevc.mkv", "odd.mkv"),
    *("variable.mp4", "pause.mp4", "keys.avi", "second.mp4", "long.mp4", "rotated.mov"),
    "wide.mp4",
]
CONVERTED = ("wide.mp4", "odd.mkv", "ten_bit.mp4", "hevc.mkv")
SOUNDS = [
    *("plain.mp4", "vp9.webm", "mpeg4.avi", "hevc.mkv", "surround.mp4", "mono.wav", "sound.mp3"),
    *("keys.avi", "long.mp4", "late.mp4", "fast.mp4", "quiet.mp4"),
]


def test_windows_are_those_of_the_whole_file(media):
    path, spec = media("long.mp4"), MediaSpec(frame_px=64, rate_hz=16000)
    windows = list(decode_windows(path, spec, 1.5))
    assert [w.start_s for w in windows] == [1.5 * k for k in range(8)]
    for window in windows[:6]:
        alone = decode(path, spec, start_s=window.start_s, end_s=window.end_s)
        assert np.array_equal(window.frames, alone.frames)
        assert np.corrcoef(window.audio, alone.audio)[0, 1] > 0.99


def test_windows_of_a_short_file_are_one(media):
    windows = list(decode_windows(media("second.mp4"), SPEC, 3.0))
    assert len(windows) == 1
    assert windows[0].audio.shape == (SPEC.num_samples,)


def test_windows_of_sound_alone(media):
    spec = MediaSpec(frame_px=32, rate_hz=16000, window_s=1.0)
    windows = list(decode_windows(media("sound.mp3"), spec, 1.0))
    joined = np.concatenate([w.audio for w in windows[:3]]).astype(float)
    expected = sound_by_ffmpeg(media("sound.mp3"), 16000)[: len(joined)]
    assert np.corrcoef(joined, expected)[0, 1] > 0.99


def test_windows_of_an_unreadable_file_raise_before_the_first(media):
    with pytest.raises(MediaError):
        next(decode_windows(media("text.mp4"), SPEC, 1.0))


def test_memory_does_not_grow_with_the_file(tmp_path):
    script = """
import resource, sys
from pathlib import Path
from cign.data.media.decode import MediaSpec
from cign.data.media.windows import decode_windows
spec = MediaSpec(frame_px=32, rate_hz=16000)
peaks = []
for path in sys.argv[1:]:
    count = sum(1 for _ in decode_windows(Path(path), spec, 3.0))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(count, peaks[1] - peaks[0])
"""
    for name, seconds in (("a.wav", 20), ("b.wav", 900)):
        source = f"sine=frequency=440:sample_rate=16000:duration={seconds}"
        ffmpeg("-f", "lavfi", "-i", source, str(tmp_path / name))
    files = [str(tmp_path / name) for name in ("a.wav", "b.wav")]
    run = [sys.executable, "-c", script, *files]
    count, growth_kb = subprocess.run(
        run, capture_output=True, check=True, text=True
    ).stdout.split()
    assert int(count) == 300
    assert int(growth_kb) < 8_000  # the whole sound is 29 MB
