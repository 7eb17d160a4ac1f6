"""Decoding against ffmpeg's own output, and every condition of the table in docs/media.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cign.data.media.container import Media
from cign.data.media.decode import PRESETS, Decoded, MediaError, MediaSpec, decode

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


def conditions(decoded: Decoded) -> dict[str, str]:
    return dict(decoded.conditions)


def frames_by_ffmpeg(path: Path, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """All frames, upright, squashed to the square; and their times in seconds."""
    common = ("-i", str(path), "-map", "0:v", "-fps_mode", "passthrough")
    scale = f"scale={size_px}:{size_px}:flags=bilinear"
    raw = ffmpeg(*common, "-vf", scale, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
    lines = ffmpeg(*common, "-f", "framecrc", "-").decode().splitlines()
    tick = next(line.split(": ")[1] for line in lines if line.startswith("#tb 0"))
    numerator, denominator = map(int, tick.split("/"))
    stamps = [int(line.split(",")[2]) for line in lines if not line.startswith("#")]
    frames = np.frombuffer(raw, np.uint8).reshape(-1, size_px, size_px, 3)
    assert len(frames) == len(stamps) > 0
    return frames, np.array(stamps) * numerator / denominator


@pytest.mark.parametrize("name", PICTURES)
def test_frames_are_those_of_ffmpeg(name, media):
    path = media(name)
    decoded = decode(path, SPEC)
    frames, times_s = frames_by_ffmpeg(path, SPEC.frame_px)
    step_s = (decoded.end_s - decoded.start_s) / 3
    for number, frame in enumerate(decoded.frames):
        wanted_s = decoded.start_s + (number + 0.5) * step_s
        index = int(np.searchsorted(times_s, wanted_s + 1e-3, side="right")) - 1
        difference = np.abs(frame.astype(int) - frames[index])
        # Two builds of the scaler differ at saturated edges where they resize or reduce 10 bits.
        assert difference.mean() < (5.0 if name in CONVERTED else 0.6), f"wanted at {wanted_s} s"
        # The neighbours are other pictures: the test can tell one frame from the next.
        for other in (index - 1, index + 1):
            if 0 <= other < len(frames):
                assert np.abs(frame.astype(int) - frames[other]).mean() > difference.mean() + 0.5


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("rate_hz", [16000, 22050])
def test_sound_is_that_of_ffmpeg(name, rate_hz, media):
    path = media(name)
    spec = MediaSpec(frame_px=32, rate_hz=rate_hz, window_s=2.0)
    decoded = decode(path, spec)
    whole = sound_by_ffmpeg(path, rate_hz)
    # Matroska rounds time stamps to milliseconds; a period of the tone is longer than that.
    allowed = round(0.001 * rate_hz) if path.suffix in (".mkv", ".webm") else 0
    begin, margin = round(decoded.start_s * rate_hz), 2 * allowed
    ours = decoded.audio[margin : spec.num_samples - margin].astype(float)
    correlations = {}
    for lag in range(-allowed, allowed + 1):
        expected = whole[begin + margin + lag :][: len(ours)].astype(float)
        assert len(expected) == len(ours)
        assert expected.std() > 50
        correlations[lag] = np.corrcoef(ours, expected)[0, 1]
    assert max(correlations.values()) > 0.99
    # Builds weight the channels of 5.1 differently.
    tolerance = 0.15 if name == "surround.mp4" else 0.01
    assert ours.std() == pytest.approx(expected.std(), rel=tolerance)


def test_times_cut_the_clip_first(media):
    path = media("long.mp4")
    decoded = decode(path, SPEC, start_s=7.0, end_s=11.0)
    assert (decoded.start_s, decoded.end_s, decoded.duration_s) == (7.5, 10.5, 4.0)
    frames, times_s = frames_by_ffmpeg(path, SPEC.frame_px)
    index = int(np.searchsorted(times_s, 9.001, side="right")) - 1
    assert np.abs(decoded.frames[1].astype(int) - frames[index]).mean() < 1.0


def test_a_clip_that_ends_after_its_file_ends_with_it(media):
    decoded = decode(media("plain.mp4"), SPEC, start_s=1.0, end_s=99.0)
    assert decoded.duration_s == pytest.approx(3.0, abs=0.05)


def test_shapes_and_types(media):
    for preset in PRESETS.values():
        decoded = decode(media("plain.mp4"), preset)
        assert decoded.frames.shape == (1, preset.frame_px, preset.frame_px, 3)
        assert decoded.frames.dtype == np.uint8
        assert decoded.audio.shape == (preset.num_samples,)
        assert decoded.audio.dtype == np.int16


@pytest.mark.parametrize("name", ["plain.mp4", "hevc.mkv", "vp9.webm", "mpeg4.avi"])
def test_decoding_twice_gives_the_same(name, media):
    assert decode(media(name), SPEC).content_hash == decode(media(name), SPEC).content_hash


# --- the conditions, in the order of the table ---


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("text.mp4", "unreadable"),
        ("zero.mp4", "unreadable"),
        ("stub.mp4", "unreadable"),
        ("short.mp4", "short"),
    ],
)
def test_files_that_are_left_out(name, condition, media):
    with pytest.raises(MediaError) as error:
        decode(media(name), SPEC)
    assert error.value.condition == condition
    assert error.value.detail


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MediaError, match="missing"):
        decode(tmp_path / "nothing.mp4", SPEC)


@pytest.mark.parametrize("name", ["cut.mp4", "cut.webm", "corrupt.mp4"])
def test_damaged_files_are_kept_and_say_so(name, media):
    decoded = decode(media(name), SPEC)
    assert "damaged" in conditions(decoded)
    assert decoded.frames.std() > 10
    assert np.abs(decoded.audio.astype(int)).max() > 500


def test_a_cut_file_gives_the_middle_of_what_is_there(media):
    decoded = decode(media("cut.mp4"), SPEC)
    assert 4 < decoded.duration_s < 6
    assert decoded.start_s + decoded.end_s == pytest.approx(decoded.duration_s)
    frames, times_s = frames_by_ffmpeg(media("fast.mp4"), SPEC.frame_px)
    middle_s = (decoded.start_s + decoded.end_s) / 2
    index = int(np.searchsorted(times_s, middle_s + 1e-3, side="right")) - 1
    assert np.abs(decoded.frames[1].astype(int) - frames[index]).mean() < 1.0


def test_one_modality(media):
    sound, picture = decode(media("sound.mp3"), SPEC), decode(media("picture.mp4"), SPEC)
    assert (sound.has_audio, sound.has_visual) == (True, False)
    assert (picture.has_audio, picture.has_visual) == (False, True)
    assert conditions(sound)["one modality"] == "no video track"
    assert conditions(picture)["one modality"] == "no audio track"
    assert not sound.frames.any()
    assert not picture.audio.any()
    assert not picture.silent  # there is nothing to be silent


def test_silent(media):
    assert decode(media("silent.mp4"), SPEC).silent
    assert not decode(media("quiet.mp4"), SPEC).silent
    assert "silent" in conditions(decode(media("silent.mp4"), SPEC))


def test_still(media):
    assert decode(media("still.mp4"), SPEC).still is True
    assert decode(media("plain.mp4"), SPEC).still is False
    one_frame = decode(media("keys.avi"), MediaSpec(frame_px=96))
    assert one_frame.still is None
    assert "still not tested" in conditions(one_frame)


def test_a_short_clip_is_repeated(media):
    decoded = decode(media("second.mp4"), SPEC)
    assert "short" in conditions(decoded)
    second = decode(media("second.mp4"), MediaSpec(frame_px=32, rate_hz=16000, window_s=1.0))
    period = round(decoded.duration_s * 16000)
    assert np.corrcoef(decoded.audio[:period], decoded.audio[period : 2 * period])[0, 1] > 0.99
    assert np.corrcoef(decoded.audio[:16000], second.audio)[0, 1] > 0.99


def test_long_gives_the_centre(media):
    decoded = decode(media("long.mp4"), SPEC)
    assert (decoded.start_s, decoded.end_s) == pytest.approx((4.5, 7.5), abs=0.01)
    assert "long" in conditions(decoded)


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("rotated.mov", "rotated"),
        ("ten_bit.mp4", "10-bit"),
        ("odd.mkv", "odd size"),
        ("variable.mp4", "variable rate"),
        ("surround.mp4", "surround"),
    ],
)
def test_what_is_dealt_with_is_said(name, condition, media):
    assert condition in conditions(decode(media(name), SPEC))
    assert condition not in conditions(decode(media("plain.mp4"), SPEC))


def test_rotation_turns_the_picture(media):
    turned = decode(media("rotated.mov"), SPEC).frames[1].astype(int)
    upright = decode(media("plain.mp4"), SPEC).frames[1].astype(int)
    assert np.abs(np.rot90(turned, 0) - upright).mean() > 20
    assert min(np.abs(np.rot90(turned, k) - upright).mean() for k in (1, 3)) < 1


def test_noise_in_a_file_never_crashes(media, tmp_path):
    found = set()
    for name in ("second.mp4", "short.mp4", "keys.avi", "sound.mp3", "cut.webm"):
        whole = np.frombuffer(media(name).read_bytes(), np.uint8)
        for seed in range(12):
            rng = np.random.default_rng(seed)
            broken = whole.copy()
            places = rng.integers(0, min(len(whole), 10 ** rng.integers(2, 7)), 20)
            broken[places] = rng.integers(0, 256, 20)
            path = tmp_path / name
            path.write_bytes(broken[: rng.integers(len(whole) // 3, len(whole))].tobytes())
            try:
                found.add("damaged" in conditions(decode(path, SPEC)))
            except MediaError as error:
                found.add(error.condition)
    assert {True, "unreadable"} <= found


def test_a_list_of_other_files_is_not_followed(media, tmp_path):
    path = tmp_path / "list.mp4"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{media('plain.mp4')}\n")
    with pytest.raises(MediaError, match="unreadable"):
        decode(path, SPEC)
    path.write_text(f"ffconcat version 1.0\nfile '{media('plain.mp4')}'\n")
    with pytest.raises(MediaError, match="unreadable"):
        decode(path, SPEC)


def test_a_name_like_an_address_is_a_name(media, tmp_path, monkeypatch):
    (tmp_path / "http:a").write_bytes(media("plain.mp4").read_bytes())
    monkeypatch.chdir(tmp_path)
    assert decode(Path("http:a"), SPEC).has_audio


def test_no_torch_in_the_decoding_processes():
    script = "import sys, cign.data.prepare.worker; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_containers_are_closed(media, monkeypatch):
    closed = []
    leave = Media.__exit__
    monkeypatch.setattr(Media, "__exit__", lambda *a: (closed.append(1), leave(*a))[1])
    decode(media("plain.mp4"), SPEC)
    with pytest.raises(MediaError):
        decode(media("stub.mp4"), SPEC)
    assert len(closed) == 2
