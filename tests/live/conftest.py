"""Streams made by ffmpeg."""

import pytest

from benchmark_scripts import script

from .sources import ffmpeg

_H264 = "-c:v libx264 -preset ultrafast -g 12 -bf 0 -pix_fmt yuv420p -c:a aac"
_TS = "-muxdelay 0 -muxpreload 0 -pcr_period 20"
RECIPES = {
    "one.ts": "-f lavfi -i testsrc2=s=96x64:r=25:d=4 -f lavfi -i sine=440:d=4:r=44100 "
    f"{_H264} {_TS}",
    "other.ts": "-f lavfi -i testsrc2=s=160x96:r=20:d=4 -f lavfi -i sine=880:d=4:r=22050 "
    f"{_H264} {_TS}",
    "mpeg2.ts": "-f lavfi -i testsrc2=s=96x64:r=25:d=5 -f lavfi -i sine=880:d=5:r=44100 "
    f"-c:v mpeg2video -g 12 -c:a mp2 {_TS}",
    "audio.ts": f"-i one.ts -vn -c copy {_TS}",
    "video.ts": f"-i one.ts -an -c copy {_TS}",
    "one.mkv": "-i one.ts -c copy",
    "one.mp4": "-i one.ts -c copy -bsf:a aac_adtstoasc",
    "fragmented.mp4": "-i one.mp4 -c copy -movflags frag_keyframe+empty_moov",
    "one.wav": "-i one.ts -vn -c:a pcm_s16le",
}


@pytest.fixture(scope="session")
def live_server():
    return script("live_server")


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    for name, command in RECIPES.items():
        ffmpeg(folder, f"{command} {name}")
    return folder
