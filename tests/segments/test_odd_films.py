"""Segments of unusual and damaged films by ffmpeg; brightness stands in for a model."""

import random
import subprocess

import imageio_ffmpeg
import pytest

from cign.data.media import windows
from cign.data.media.decode import MediaError, MediaSpec
from cign.data.media.windows import decode_windows
from cign.inference.prediction import Prediction
from cign.inference.segment import SegmentRules
from cign.inference.segments import Merger
from cign.vocabulary import MODALITIES

SPEC = MediaSpec(frame_px=32, rate_hz=8000, window_s=2.0)
EVERY_S = 0.5
# Black, white and black again; silence while it is white.
PARTS = (("black", 8), ("white", 6), ("black", 6))
PICTURE = ";".join(
    [f"color={name}:s=64x64:r=10:d={s}[p{i}]" for i, (name, s) in enumerate(PARTS)]
    + ["[p0][p1][p2]concat=3[v]"]
)
SOUND = "sine=440:r=8000:d=20,volume=enable='between(t,8,14)':volume=0[s]"


def ffmpeg(*arguments):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-threads", "1"]
    subprocess.run([*command, *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    place = tmp_path_factory.mktemp("film") / "film.mp4"
    maps = ("-map", "[v]", "-map", "[s]", "-g", "10", "-c:a", "aac")
    ffmpeg("-filter_complex", f"{PICTURE};{SOUND}", *maps, place)
    return place


def answered(window):
    """A prediction: what is bright is white, what sounds is black."""
    bright = float(window.frames.mean()) / 255
    value = bright if window.has_visual else float(window.silent)
    classes = [
        {"label": "white", "probability": value},
        {"label": "black", "probability": 1 - value},
    ]
    classes.sort(key=lambda one: -one["probability"])
    return Prediction(
        file="film",
        start_s=window.start_s,
        end_s=window.end_s,
        label=classes[0]["label"],
        unknown=0.0,
        is_unknown=False,
        modalities=dict.fromkeys(MODALITIES, classes),
    )


def segments(path):
    """The segments of a file as (start, end, label), and its error."""
    merger, found, error = Merger(SegmentRules(least_s=1.0, bridge_s=1.0)), [], None
    try:
        for window in decode_windows(path, SPEC, EVERY_S):
            found += merger.push(answered(window))
    except MediaError as failure:
        error = failure
    found += merger.close()
    return [(one.start_s, one.end_s, one.label) for one in found], error


def require(found, expected, abs_s=0.51):
    """The same labels, with boundaries within the time between two windows."""
    assert [one[2] for one in found] == [one[2] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[:2] == pytest.approx(other[:2], abs=abs_s)


WHOLE = [(0, 8, "black"), (8, 14, "white"), (14, 20, "black")]


def test_boundaries_of_a_film(film):
    found, error = segments(film)
    require(found, WHOLE)
    assert error is None


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(("-an", "-c", "copy"), id="no audio"),
        pytest.param(("-vf", "select='lt(mod(n,7),3)'", "-fps_mode", "vfr"), id="variable rate"),
        pytest.param(("-af", "atrim=0:6"), id="audio is shorter"),
    ],
)
def test_the_video_decides(film, tmp_path, how):
    ffmpeg("-i", film, *how, tmp_path / "odd.mp4")
    found, error = segments(tmp_path / "odd.mp4")
    require(found, WHOLE, 0.8)
    assert error is None


def test_audio_alone(film, tmp_path):
    ffmpeg("-i", film, "-vn", tmp_path / "odd.wav")
    found, _ = segments(tmp_path / "odd.wav")
    # Only windows that are silent throughout are white here.
    require(found, [(0, 9, "black"), (9, 13, "white"), (13, 20, "black")])


def test_a_file_shorter_than_a_window(film, tmp_path):
    ffmpeg("-i", film, "-t", "0.8", tmp_path / "odd.mp4")
    found, _ = segments(tmp_path / "odd.mp4")
    require(found, [(0, 0.8, "black")], 0.1)


@pytest.mark.parametrize("broken", [{8, 9}, {0, 20}, set(range(100))])
def test_windows_that_do_not_decode_are_left_out_and_named(film, monkeypatch, broken):
    numbers, whole = iter(range(100)), windows.finish

    def finish(*arguments):
        if next(numbers) in broken:
            raise MediaError("damaged", "no frame of its video track decodes")
        return whole(*arguments)

    monkeypatch.setattr(windows, "finish", finish)
    found, error = segments(film)
    assert error.condition == "damaged"
    if len(broken) == 100:
        assert found == []
        assert error.detail == "no frame of its video track decodes"
        return
    require(found, WHOLE, 1.3)
    first, last = min(broken) * EVERY_S, max(broken) * EVERY_S + 2
    between = f"between {first:.2f} and {last:.2f} s"
    assert error.detail == f"2 of 40 windows do not decode, {between}, and are missing"


def test_noise_in_the_middle(film, tmp_path):
    content, draw = bytearray(film.read_bytes()), random.Random(1)
    begin = int(len(content) * 0.35)
    for place in range(begin, begin + len(content) // 8):
        content[place] = draw.randrange(256)
    (tmp_path / "odd.mp4").write_bytes(content)
    found, _ = segments(tmp_path / "odd.mp4")
    assert found[0][0] == 0
    assert found[-1][1] > 18
