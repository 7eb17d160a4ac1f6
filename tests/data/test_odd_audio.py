"""Audio with many channels, and with samples that are no numbers."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from cign.data.media.decode import MediaSpec, decode
from cign.data.media.windows import decode_windows
from odd_media import tone_hz

SPEC = MediaSpec(frame_px=32, rate_hz=16000)
TIMES_S = np.arange(5 * 16000) / 16000
TONE = 9000 * np.sin(2 * np.pi * 800 * TIMES_S)


def write_channels(path: Path, num_channels: int, active: int = 0) -> Path:
    """A WAV with a tone in all channels, or in the first few of them only."""
    samples = np.zeros((len(TONE), num_channels), "<i2")
    samples[:, : active or num_channels] = TONE[:, None].astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(num_channels)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())
    return path


@pytest.mark.parametrize("num_channels", [1, 2, 3, 8, 9, 11, 16, 17, 32, 60, 64, 65, 255])
def test_any_number_of_channels_is_mixed(num_channels, tmp_path):
    clip = decode(write_channels(tmp_path / "a.wav", num_channels), SPEC)
    assert clip.has_audio
    assert tone_hz(clip.audio, 16000) == pytest.approx(800, abs=1)
    assert np.abs(clip.audio).max() == pytest.approx(9000, abs=5)
    assert ("surround" in dict(clip.conditions)) == (num_channels > 2)
    assert "damaged" not in dict(clip.conditions)


@pytest.mark.parametrize("num_channels", [9, 60, 255])
def test_channels_without_a_layout_are_averaged(num_channels, tmp_path):
    clip = decode(write_channels(tmp_path / "a.wav", num_channels, active=3), SPEC)
    assert np.abs(clip.audio).max() == pytest.approx(9000 * 3 / num_channels, abs=5)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.ogg", ("libvorbis",)),  # in planes
        ("a.opus", ("libopus", "-mapping_family", "255")),
        ("a.webm", ("libopus", "-mapping_family", "255")),
        ("a.mkv", ("pcm_s32le",)),
        ("a.caf", ("pcm_f32le",)),
        ("a.mov", ("pcm_s24le",)),
        ("a.tta", ("tta",)),
        ("a.aiff", ("pcm_s16be",)),
    ],
)
def test_nine_channels_in_other_codecs(name, codec, odd, tmp_path):
    source = write_channels(tmp_path / "source.wav", 9)
    odd.ffmpeg("-i", str(source), "-c:a", *codec, str(tmp_path / name))
    clip = decode(tmp_path / name, SPEC)
    assert tone_hz(clip.audio, 16000) == pytest.approx(800, abs=1)
    assert np.abs(clip.audio).max() == pytest.approx(9000, rel=0.1)


def test_windows_of_many_channels(tmp_path):
    windows = list(decode_windows(write_channels(tmp_path / "a.wav", 32), SPEC, 2.5))
    assert [round(tone_hz(one.audio, 16000)) for one in windows] == [800, 800]


def write_floats(path: Path, samples: np.ndarray) -> Path:
    """A WAV of floating-point samples."""
    width = samples.dtype.itemsize
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, 16000, 16000 * width, width, 8 * width)
    data = samples.tobytes()
    head = struct.pack("<4sI4s", b"RIFF", 36 + len(data), b"WAVE")
    path.write_bytes(head + form + struct.pack("<4sI", b"data", len(data)) + data)
    return path


@pytest.mark.parametrize("kind", ["<f4", "<f8"])
def test_samples_that_are_no_numbers_are_zero_and_damage(kind, tmp_path):
    samples = (TONE / 32768).astype(kind)
    samples[20000:20100] = np.nan
    samples[30000] = np.inf
    samples[40000] = -np.inf
    clip = decode(write_floats(tmp_path / "a.wav", samples), SPEC)
    assert dict(clip.conditions)["damaged"] == (
        "102 audio samples are not finite and were set to 0"
    )
    assert np.abs(clip.audio).max() <= 9001
    assert not clip.audio[20000 - 16000 : 20100 - 16000].any()
    assert tone_hz(clip.audio, 16000) == pytest.approx(800, abs=1)


def test_nothing_but_nan_is_silence(tmp_path):
    path = write_floats(tmp_path / "a.wav", np.full(5 * 16000, np.nan, "<f4"))
    clip = decode(path, SPEC)
    assert clip.silent
    assert not clip.audio.any()
    assert "damaged" in dict(clip.conditions)
    windows = list(decode_windows(path, SPEC, 2.5))
    assert all(one.silent and "damaged" in dict(one.conditions) for one in windows)


def test_floats_that_are_finite_are_no_damage(tmp_path):
    clip = decode(write_floats(tmp_path / "a.wav", (TONE / 32768).astype("<f4")), SPEC)
    assert "damaged" not in dict(clip.conditions)
