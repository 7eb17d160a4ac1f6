"""The length and the centre of clips with odd timestamps; every file was made by ffmpeg."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from cign.data.media import container
from cign.data.media.decode import Decoded, MediaError, MediaSpec, decode
from cign.data.media.windows import decode_windows
from odd_media import OddMedia, colour, tone_hz

SPEC = MediaSpec(frame_px=96, rate_hz=16000)

WHOLE = [
    *("late.mkv", "late.mp4", "late.ts", "late.flv", "late.webm", "late.mpg"),
    *("subtitles.mkv", "subtitles.mp4", "subtitles.webm", "two_audio.mkv", "two_audio.mp4"),
    *("keys.ts", "keys.m2ts", "keys.mpg", "keys.vob", "mpeg2.ts", "hevc.ts", "mpeg4.ts"),
    *("open_gop.ts", "refresh.ts", "live.webm", "fragments.mp4", "dash.mp4", "timecode.mov"),
    *("repeated.ogv", "palette.mkv", "piped.mp4", "piped.mkv", "piped.avi", "piped.flv"),
]
AUDIO_ONLY = [
    *("late.ogg", "late.opus", "audio.m4a", "cover.m4a", "mono.wav"),
    *("piped.wav", "piped.au", "piped.flac"),
]
VIDEO_ONLY = [
    *("raw.h264", "raw.hevc", "raw.m2v", "raw.mjpeg", "raw50.h264", "palette.gif", "video.mp4"),
]
APART = ["apart.mp4", "apart.mkv", "apart.ts", "apart_video.mkv"]
JOINED = ["twice.ts", "ahead.ts", "back.ts", "twice.mpg", "fragments_twice.mp4"]


def shown(clip: Decoded) -> tuple[str | None, float | None]:
    """The colour and the tone of a clip; None without video or audio."""
    tone = round(tone_hz(clip.audio, SPEC.rate_hz), -2) if clip.has_audio else None
    return (colour(clip.frames[0]) if clip.has_visual else None), tone


def names(clip: Decoded) -> set[str]:
    return {name for name, _ in clip.conditions}


@pytest.mark.parametrize("name", [*WHOLE, *AUDIO_ONLY, *VIDEO_ONLY, *APART])
def test_the_centre_of_nine_seconds_is_green_and_800_hz(name, odd):
    clip = decode(odd(name), SPEC)
    # Formats begin up to 0.08 s early, for the delay of encoders.
    assert clip.duration_s == pytest.approx(9.0, abs=0.1)
    assert clip.start_s == pytest.approx(3.0, abs=0.05)
    expected = (None if name in AUDIO_ONLY else "green"), (None if name in VIDEO_ONLY else 800)
    assert shown(clip) == expected
    assert "damaged" not in names(clip)
    assert "silent" not in names(clip)
    assert ("tracks apart" in names(clip)) == (name in APART)


@pytest.mark.parametrize("name", [*WHOLE, *AUDIO_ONLY, *VIDEO_ONLY, *APART, *JOINED])
def test_a_clip_is_the_same_each_time(name, odd):
    # The first time it is measured, which reads some files to their end; then that is known.
    container._cache.clear()
    clips = [decode(odd(name), SPEC) for _ in range(3)]
    assert len({(clip.content_hash, clip.conditions, clip.start_s) for clip in clips}) == 1


@pytest.mark.parametrize("name", [*WHOLE, *APART, "raw.h264"])
def test_windows_of_nine_seconds_are_three(name, odd):
    windows = list(decode_windows(odd(name), SPEC, 3.0))
    tones = (None, None, None) if name == "raw.h264" else (400, 800, 1600)
    assert [shown(one) for one in windows] == list(
        zip(("red", "green", "blue"), tones, strict=True)
    )
    assert not any("damaged" in names(one) for one in windows)


@pytest.mark.parametrize("name", JOINED)
def test_parts_whose_timestamps_restart_follow_each_other(name, odd):
    clip = decode(odd(name), SPEC)
    assert clip.duration_s == pytest.approx(18.0, abs=0.2)
    assert "damaged" not in names(clip)
    assert dict(clip.conditions)["joined"] == "timestamps restart: 2 parts were joined"
    windows = list(decode_windows(odd(name), SPEC, 3.0))
    once = [("red", 400), ("green", 800), ("blue", 1600)]
    assert [shown(one) for one in windows] == once + once
    part = decode(odd(name), SPEC, start_s=12.2, end_s=14.8)
    assert shown(part) == ("green", 800)


@pytest.mark.parametrize("name", ["chained.ogg", "chained.opus"])
def test_chained_streams_follow_each_other(name, odd):
    windows = list(decode_windows(odd(name), SPEC, 3.0))
    assert [shown(one) for one in windows] == [(None, hz) for hz in (400, 800, 1600) * 2]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
@pytest.mark.parametrize("suffix", ["ts", "m2ts", "mpg"])
@pytest.mark.parametrize("seconds", [7, 15])
def test_the_frame_is_the_wanted_one_where_key_frames_are_rare(codec, suffix, seconds, tmp_path):
    if (codec, suffix) == ("libx265", "mpg"):
        pytest.skip("MPEG-PS holds no HEVC")
    # The luminance of a frame is its number, and neighbours differ by 1.2 levels.
    source = (
        f"nullsrc=s=64x64:r=25:d={seconds},geq=lum='16+mod(N\\,200)':cb='90+20*floor(N/200)':cr=128"
    )
    keys = ["-x265-params", "log-level=none:keyint=250:scenecut=0:qp=4"]
    if codec != "libx265":
        keys = ["-g", "250", "-sc_threshold", "1000000000", "-qscale:v", "2", "-qp", "1"]
    video = ("-c:v", codec, *keys[: 6 if codec == "mpeg2video" else 8], "-pix_fmt", "yuv420p")
    # The same frames twice: with an index, and without.
    OddMedia(tmp_path).ffmpeg(
        *("-f", "lavfi", "-i", source, "-f", "lavfi", "-i", f"sine=440:duration={seconds}"),
        *(*video, "-c:a", "mp2", f"rare.{suffix}", *video, "-c:a", "mp2", "indexed.mkv"),
    )
    spec = MediaSpec(num_frames=3, frame_px=64, rate_hz=16000)
    ours, indexed = (decode(tmp_path / n, spec) for n in (f"rare.{suffix}", "indexed.mkv"))
    assert "damaged" not in names(ours)
    for frame, other in zip(ours.frames, indexed.frames, strict=True):
        # The two begin up to half a frame apart: Matroska rounds to milliseconds.
        assert np.abs(frame.astype(int) - other).mean() < 1.8
    middle = ours.frames[1].astype(int)
    assert np.abs(middle - ours.frames[0]).mean() > 10


def test_a_start_past_the_end_says_so(odd):
    with pytest.raises(MediaError) as error:
        decode(odd("base.mp4"), SPEC, start_s=12.0, end_s=15.0)
    assert error.value.detail == "start_s 12 is past the end of the 9.00 s file"
    assert error.value.condition == "short"


@pytest.mark.parametrize("name", ["one_frame.mkv", "one_frame.mp4", "one_frame.avi"])
def test_a_single_frame_beside_audio_is_cover_art(name, odd):
    clip = decode(odd(name), SPEC)
    assert (clip.has_audio, clip.has_visual) == (True, False)
    assert {"cover art", "one modality"} <= names(clip)
    assert not clip.frames.any()


def test_a_track_with_nothing_in_the_window_says_so(odd):
    clip = decode(odd("base.mp4"), SPEC)
    assert "silent" not in names(clip)
    odd.ffmpeg(
        *("-i", "base.mp4", "-f", "lavfi", "-i", "sine=440:duration=1"),
        *("-map", "0:v", "-map", "1:a", "-c:v", "copy", "early.mp4"),
    )
    clip = decode(odd.folder / "early.mp4", SPEC)
    assert clip.silent
    assert dict(clip.conditions)["silent"] == "its audio track has no samples in the window"


def wave_file(path: Path, data: bytes, *, stated: int) -> Path:
    """A WAV of 16-bit mono samples at 16 kHz whose header states some number of bytes."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    size = min(stated + 36, 2**32 - 1)
    head = struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + form
    path.write_bytes(head + struct.pack("<4sI", b"data", stated) + data)
    return path


@pytest.mark.parametrize("stated", [0, 2**32 - 1, 2**31 - 1, 2**31 - 1 - 36, 0x7FFFF000])
def test_a_placeholder_for_the_length_is_no_damage(stated, tmp_path):
    tone = (9000 * np.sin(2 * np.pi * 800 * np.arange(9 * 16000) / 16000)).astype("<i2")
    clip = decode(wave_file(tmp_path / "a.wav", tone.tobytes(), stated=stated), SPEC)
    assert clip.duration_s == pytest.approx(9.0)
    assert "damaged" not in names(clip)


def test_half_of_a_file_is_damage(odd, tmp_path):
    odd.ffmpeg("-i", str(odd("base.mp4")), "-vn", "stated.flac")
    data = (odd.folder / "stated.flac").read_bytes()
    (tmp_path / "half.flac").write_bytes(data[: len(data) // 2])
    clip = decode(tmp_path / "half.flac", SPEC)
    assert 3 < clip.duration_s < 6
    assert clip.start_s + clip.end_s == pytest.approx(clip.duration_s)
    assert "damaged" in names(clip)
    assert "damaged" not in names(decode(odd.folder / "stated.flac", SPEC))
