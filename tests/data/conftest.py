"""Media files made by ffmpeg itself, so that our decoding is held against another tool; corpora."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from cign.data.clips import Clip, ClipTable
from cign.data.media.decode import MediaSpec
from cign.data.prepare.pipeline import prepare
from odd_media import OddMedia

PICTURE = "-f lavfi -i testsrc2=size=96x96:rate=25:duration=4"
SOUND = "-f lavfi -i sine=frequency=440:beep_factor=4:duration=4"
H264 = "-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv420p -g 250"
AAC = "-c:a aac -b:a 128k"
PLAIN = f"{PICTURE} {SOUND} {H264} {AAC}"

RECIPES = {
    "plain.mp4": PLAIN,
    "wide.mp4": PLAIN.replace("96x96", "640x360"),
    "vp9.webm": f"{PICTURE} {SOUND} -c:v libvpx-vp9 -cpu-used 8 -deadline realtime -c:a libopus",
    "live.webm": f"{PICTURE} {SOUND} -c:v libvpx -deadline realtime -c:a libvorbis -f webm -live 1",
    "mpeg4.avi": f"{PICTURE} {SOUND} -c:v mpeg4 -bf 2 -g 250 -c:a libmp3lame",
    "ten_bit.mp4": f"{PICTURE} {SOUND} {H264} -pix_fmt yuv420p10le {AAC}",
    "hevc.mkv": f"{PICTURE} {SOUND} -c:v libx265 -preset ultrafast -x265-params log-level=none "
    "-pix_fmt yuv420p10le -c:a libvorbis",
    "odd.mkv": "-f lavfi -i testsrc2=size=160x120:rate=25:duration=4 -vf crop=101:67:0:0:exact=1 "
    "-pix_fmt yuv444p -c:v ffv1",
    "variable.mp4": f"{PICTURE} {SOUND} -vf select=not(mod(n\\,7))+lt(n\\,20) -fps_mode vfr {H264}",
    "pause.mp4": f"{PICTURE} -vf select=lt(n\\,20)+gt(n\\,80) -fps_mode vfr {H264}",
    "surround.mp4": f"{PICTURE} {SOUND} {H264} -af "
    "pan=5.1|FL=c0|FR=0.5*c0|FC=0.2*c0|LFE=0*c0|BL=0.1*c0|BR=0*c0 -c:a ac3",
    "mono.wav": "-f lavfi -i sine=frequency=440:sample_rate=8000:duration=4",
    "sound.mp3": f"{SOUND} -c:a libmp3lame -q:a 4",
    "picture.mp4": f"{PICTURE} {H264}",
    "silent.mp4": f"{PICTURE} -f lavfi -i anullsrc=duration=4 {H264} {AAC} -shortest",
    "quiet.mp4": f"{PICTURE} {SOUND} -af volume=-30dB {H264} {AAC}",
    "still.mp4": "-f lavfi -i testsrc2=size=96x96:rate=25:duration=0.04 "
    f"{SOUND} -vf loop=-1:1 -t 4 {H264} {AAC}",
    "keys.avi": f"{PICTURE} {SOUND} -c:v mjpeg -c:a pcm_s16le",
    "short.mp4": f"{PICTURE} {SOUND} {H264} {AAC} -t 0.3",
    "second.mp4": f"{PICTURE} {SOUND} {H264} {AAC} -t 1",
    "long.mp4": f"{PICTURE} {SOUND} {H264} {AAC}".replace("duration=4", "duration=12"),
    "late.mp4": f"{PICTURE} -itsoffset 1.5 {SOUND} {H264} {AAC}",
    "fast.mp4": f"{PICTURE} {SOUND} {H264} -g 25 {AAC} -movflags +faststart".replace(
        "duration=4", "duration=10"
    ),
}


def ffmpeg(*arguments: str) -> bytes:
    """Run ffmpeg and give what it writes to its standard output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-threads", "1", *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


Make = Callable[[str], Path]


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Gives a file of `RECIPES`, or one derived from those, by name; each is made once."""
    folder = tmp_path_factory.mktemp("media")

    def make(name: str) -> Path:
        path = folder / name
        if path.exists():
            return path
        if name in RECIPES:
            ffmpeg(*RECIPES[name].split(), "-fflags", "+bitexact", str(path))
        elif name == "rotated.mov":
            source = str(make("plain.mp4"))
            ffmpeg("-display_rotation", "90", "-i", source, "-c", "copy", str(path))
        elif name == "cut.mp4":
            whole = make("fast.mp4").read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        elif name == "stub.mp4":
            whole = make("fast.mp4").read_bytes()
            path.write_bytes(whole[: whole.index(b"mdat") + 2000])
        elif name == "corrupt.mp4":
            whole = bytearray(make("fast.mp4").read_bytes())
            middle = len(whole) // 2
            noise = np.random.default_rng(0).integers(0, 256, 6000, np.uint8).tobytes()
            whole[middle - 3000 : middle + 3000] = noise
            path.write_bytes(whole)
        elif name == "cut.webm":
            whole = make("vp9.webm").read_bytes()
            path.write_bytes(whole[: len(whole) * 6 // 10])
        elif name == "text.mp4":
            path.write_text("not a film\n" * 100)
        elif name == "zero.mp4":
            path.touch()
        else:
            raise KeyError(name)
        return path

    return make


SPEC = MediaSpec(frame_px=32, rate_hz=8000, window_s=1.0)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory, media):
    """Two classes, twelve clips, and one file of every bad kind."""
    folder = tmp_path_factory.mktemp("corpus")
    good = ["plain.mp4", "vp9.webm", "mpeg4.avi", "hevc.mkv", "quiet.mp4", "keys.avi"]
    for number, name in enumerate(good):
        for label in ("ape", "bee's 猫"):
            path = folder / ("test" if number == 5 else "train") / label / f"{number} {name}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if label == "ape":
                shutil.copy(media(name), path)
            else:
                shift = ("-itsoffset", "0", "-i", str(media(name)), "-vf", "negate")
                ffmpeg(*shift, "-c:a", "copy", *("-c:v", "mpeg4"), str(path.with_suffix(".mkv")))
    bad = ["text.mp4", "zero.mp4", "short.mp4", "cut.mp4", "silent.mp4", "still.mp4", "sound.mp3"]
    for name in bad:
        shutil.copy(media(name), folder / "train" / "ape" / f"bad {name}")
    shutil.copy(media("plain.mp4"), folder / "test" / "ape" / "again.mp4")
    shutil.copy(media("plain.mp4"), folder / "train" / "ape" / "twice.mp4")
    return folder


@pytest.fixture(scope="session")
def prepared(corpus, tmp_path_factory):
    """Its store, made in this process, and the report."""
    folder = tmp_path_factory.mktemp("prepared") / "store"
    return folder, prepare(corpus, folder, spec=SPEC, num_workers=0)


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name != ".lock"}


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def by_id(read: ClipTable) -> dict[str, Clip]:
    return {clip.id: clip for clip in read.clips}


def sound_by_ffmpeg(path: Path, rate_hz: int) -> np.ndarray:
    """The whole audio, mixed to one channel, from time 0 on."""
    raw = ffmpeg(
        *("-i", str(path), "-af", "aresample=async=1:first_pts=0", "-ac", "1"),
        *("-ar", str(rate_hz), "-f", "s16le", "-"),
    )
    return np.frombuffer(raw, np.int16)


def make_pair(folder: Path, media, train: str, test: str = "plain.mp4") -> Path:
    for place, name in (("train/a/1", train), ("test/a/2", test), ("train/b/3", "vp9.webm")):
        path = folder / (place + Path(name).suffix)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(media(name), path)
    return folder


@pytest.fixture(scope="session")
def odd(tmp_path_factory):
    """Gives a file of `odd_media` by name."""
    return OddMedia(tmp_path_factory.mktemp("odd"))
