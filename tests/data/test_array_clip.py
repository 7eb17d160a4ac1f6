"""Clips as arrays are cut, resampled and resized like decoded files."""

import subprocess

import av
import imageio_ffmpeg
import numpy as np
import pytest
import torch

from cign.data.media.array_clip import ArrayClip
from cign.data.media.decode import MediaError, MediaSpec, decode
from cign.data.media.limits import MediaLimits, limited
from cign.data.media.windows import decode_windows
from cign.errors import InputError
from refusals import input_error

SPEC = MediaSpec(num_frames=2, frame_px=64, rate_hz=16000, window_s=2.0)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Four seconds: moving patterns, stereo tones at 44.1 kHz as PCM, by ffmpeg."""
    path = tmp_path_factory.mktemp("film") / "film.mov"
    tone = "aevalsrc=0.4*sin(2*PI*(300+80*sin(t))*t)|0.3*sin(1700*t):d=4:s=44100"
    subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error"),
            *("-f", "lavfi", "-i", "mandelbrot=size=320x240:rate=25", "-f", "lavfi", "-i", tone),
            *("-t", "4", "-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p"),
            *("-c:a", "pcm_s16le", str(path)),
        ],
        check=True,
    )
    return path


def arrays(path):
    """All samples [channels, L] and all frames [K, H, W, 3] of a file, as any reader gives them."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        audio = [frame.to_ndarray().reshape(-1, 2).T for frame in container.decode(audio=0)]
    return np.concatenate(audio, axis=1), np.stack(frames)


@pytest.fixture(scope="module")
def clip(film):
    audio, frames = arrays(film)
    return ArrayClip(audio=audio, rate_hz=44100, frames=frames, frame_rate_hz=25)


@pytest.mark.parametrize("every_s", [None, 1.0])
def test_arrays_of_a_file_give_the_windows_of_the_file(film, clip, every_s):
    files = [decode(film, SPEC)] if every_s is None else list(decode_windows(film, SPEC, every_s))
    ours = list(clip.windows(SPEC, every_s))
    assert len(ours) == len(files) == (1 if every_s is None else 4)
    for one, wanted in zip(ours, files, strict=True):
        assert (one.start_s, one.end_s) == pytest.approx((wanted.start_s, wanted.end_s))
        assert (one.has_audio, one.has_visual) == (True, True)
        # Mixed and resampled alike: the resampler begins elsewhere in a file, which moves the
        # samples by less than one.
        loud = float(np.abs(wanted.audio.astype(float)).mean())
        apart = np.abs(one.audio.astype(float) - wanted.audio)
        assert apart.mean() < 0.05 * loud
        # Of 255 levels; the moment matters: another frame differs by far more.
        assert np.abs(one.frames.astype(int) - wanted.frames).mean() < 3.0
        other = np.abs(one.frames[0].astype(int) - wanted.frames[1]).mean()
        assert other > 6.0


def test_arrays_as_the_model_takes_them_are_not_touched(film):
    wanted = decode(film, SPEC)
    clip = ArrayClip(audio=wanted.audio, rate_hz=16000, frames=wanted.frames)
    (one,) = clip.windows(SPEC)
    np.testing.assert_array_equal(one.audio, wanted.audio)
    np.testing.assert_array_equal(one.frames, wanted.frames)


def test_resampling_keeps_a_tone_and_its_level():
    """440 Hz at 48 kHz: the same tone at 16 kHz, computed by its formula."""
    seconds = np.arange(96000) / 48000
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    (one,) = ArrayClip(audio=tone, rate_hz=48000).windows(SPEC)
    wanted = 0.5 * 32768 * np.sin(2 * np.pi * 440 * np.arange(32000) / 16000)
    middle = slice(1000, -1000)  # the filter's ends are not there
    assert np.abs(one.audio[middle] - wanted[middle]).max() < 60


@pytest.mark.parametrize(
    "audio",
    [
        np.full((3, 32000), 0.25, np.float32),
        np.full((5, 32000), 8192, np.int16),
        np.full((1, 32000), 0.25, np.float64),
        torch.full((32000,), 0.25),
    ],
)
def test_channels_and_kinds_of_numbers_mean_the_same(audio):
    (one,) = ArrayClip(audio=audio, rate_hz=16000).windows(SPEC)
    assert one.audio.dtype == np.int16
    assert np.abs(one.audio.astype(int) - 8192).max() <= 1
    assert not one.has_visual
    assert not one.frames.any()


def test_stereo_is_the_mean_of_its_channels():
    ramp = np.linspace(-0.5, 0.5, 32000, dtype=np.float32)
    (one,) = ArrayClip(audio=np.stack([ramp, 0 * ramp]), rate_hz=16000).windows(SPEC)
    assert np.abs(one.audio - 32768 * ramp / 2).max() <= 2


def frames_of(levels):
    """One frame for each level, in grey."""
    shape = (len(levels), 64, 64, 3)
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], shape)


def test_frames_are_those_shown_at_the_window_times():
    # Ten frames over 5 s: the centre window is 1.5 to 3.5 s, its moments 2.0 and 3.0 s.
    clip = ArrayClip(frames=frames_of(range(10)), frame_rate_hz=2)
    (one,) = clip.windows(SPEC)
    assert (one.start_s, one.end_s, one.has_audio) == (1.5, 3.5, False)
    assert one.frames[:, 0, 0, 0].tolist() == [4, 6]
    # Without a rate they share the length of the audio, here 4 s: moments 1.5 and 2.5 s.
    clip = ArrayClip(frames=frames_of(range(8)), audio=np.zeros(64000), rate_hz=16000)
    (one,) = clip.windows(SPEC)
    assert one.frames[:, 0, 0, 0].tolist() == [3, 5]
    assert one.silent
    # Alone they share the window: moments 0.5 and 1.5 s of 2 s.
    (one,) = ArrayClip(frames=frames_of([1, 2, 3, 4])).windows(SPEC)
    assert one.frames[:, 0, 0, 0].tolist() == [2, 4]


def test_floats_are_levels_and_one_image_is_one_frame():
    image = np.full((64, 64, 3), 100 / 255, np.float32)
    (one,) = ArrayClip(frames=image).windows(SPEC)
    assert (one.frames == 100).all()
    large = np.full((200, 300, 3), 200, np.uint8)
    (one,) = ArrayClip(frames=large).windows(SPEC)
    assert np.abs(one.frames.astype(int) - 200).max() <= 2


def test_a_short_clip_is_repeated_and_a_shorter_one_refused():
    ramp = np.arange(16000, dtype=np.int16)
    (one,) = ArrayClip(audio=ramp, rate_hz=16000).windows(SPEC)
    np.testing.assert_array_equal(one.audio, np.tile(ramp, 2))
    assert (one.start_s, one.end_s) == (0.0, 1.0)
    with pytest.raises(MediaError, match=r"short: it is 0\.25 s long, less than 0\.5 s"):
        list(ArrayClip(audio=ramp[:4000], rate_hz=16000).windows(SPEC))


@pytest.mark.parametrize(
    "clip",
    [
        ArrayClip(audio=np.zeros(10, np.int16), rate_hz=1),
        ArrayClip(frames=np.zeros((1, 8, 8, 3), np.uint8), frame_rate_hz=0.1),
    ],
)
def test_a_clip_beyond_the_limits_is_refused_before_it_is_resampled(clip, monkeypatch):
    assert len(list(clip.windows(SPEC))) == 1
    monkeypatch.setattr("cign.data.media.array_clip._resampled", None)  # never called
    with (
        limited(MediaLimits(max_pixels=1, max_duration_s=9.0)),
        pytest.raises(MediaError, match="it is 10 s long, at most 9 s are accepted"),
    ):
        list(clip.windows(SPEC))


NOISE = np.zeros(16000, np.float32)
IMAGES = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "neither audio nor frames"),
        ({"audio": NOISE}, "audio and rate_hz go together"),
        ({"frames": IMAGES, "rate_hz": 16000}, "audio and rate_hz go together"),
        ({"audio": NOISE, "rate_hz": 0}, "rate_hz is 0, not a positive number"),
        ({"audio": NOISE, "rate_hz": float("nan")}, "rate_hz is nan"),
        ({"audio": NOISE, "rate_hz": 0.5}, "rate_hz is 0.5, which rounds to 0 Hz"),
        ({"audio": NOISE[:0], "rate_hz": 1}, r"shape \[0\]; give \[samples\]"),
        ({"audio": NOISE.reshape(-1, 2), "rate_hz": 1}, r"\[8000, 2\]; .* at most 64 channels"),
        ({"audio": NOISE.astype(int), "rate_hz": 1}, "audio is int64; give floating point"),
        ({"audio": NOISE * np.nan, "rate_hz": 1}, "infinity or NaN"),
        ({"audio": NOISE + 32000, "rate_hz": 1}, "reaches 32000; .* divide it by its full scale"),
        ({"frames": IMAGES[..., 0]}, r"frames have shape \[2, 8, 8\]; give RGB"),
        ({"frames": IMAGES.astype(np.int32)}, "frames are int32; give uint8"),
        ({"frames": IMAGES + 1.5}, "frames range from 1.5 to 1.5"),
        ({"frames": IMAGES * np.nan}, "frames range from nan"),
    ],
)
def test_wrong_arrays_are_refused_in_one_sentence(arguments, message):
    with pytest.raises(InputError, match=message):
        ArrayClip(**arguments)


def test_a_batch_is_a_list_of_clips():
    batch = ArrayClip.batch(audio=np.stack([NOISE, NOISE]), rate_hz=8000, frames=IMAGES[:, None])
    assert [clip.name for clip in batch] == ["array 0", "array 1"]
    assert (
        repr(batch[1]) == "ArrayClip('array 1', audio [1, 16000] at 8000 Hz, frames [1, 8, 8, 3])"
    )
    assert [clip.duration_s for clip in batch] == [2.0, 2.0]
    assert ArrayClip.batch() == []
    with input_error("bad-value", "2 frames, 1 names"):
        ArrayClip.batch(frames=IMAGES[:, None], names=["a"])
