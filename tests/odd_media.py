"""Media whose contents are known by their making, with timestamps and streams that are odd.

``base.mp4`` is 9 s: red, green and blue for 3 s each, with tones of 400, 800 and 1600 Hz. What is
cut, shifted or joined from it shows by colour and tone which part a reader took.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np

COLOURS = ("red", "green", "blue")
TONES_HZ = (400, 800, 1600)

_COPY = "-i base.mp4 -c copy"
_WEBM = "-c:v libvpx -deadline realtime -cpu-used 8 -c:a libopus"
_LONG_SUBTITLES = "-i base.mp4 -i long.srt -map 0 -map 1"
_TWO_AUDIO = "-i base.mp4 -f lavfi -i sine=300:duration=20 -map 0 -map 1 -c:v copy -c:a aac"
_COVER = "-i base.mp4 -i image.jpg -map 0:a -map 1:v"
# A key frame every 10 s, as x264 and others have it unless told otherwise.
_RARE_KEYS = "-i base.mp4 -g 250 -sc_threshold 1000000000"

# What is given to ffmpeg before the name of the file.
RECIPES = {
    "base.mp4": "-f lavfi -i color=red:s=160x120:r=25:d=3 "
    "-f lavfi -i color=lime:s=160x120:r=25:d=3 -f lavfi -i color=blue:s=160x120:r=25:d=3 "
    "-f lavfi -i aevalsrc=0.3*sin(2*PI*t*if(lt(t\\,3)\\,400\\,if(lt(t\\,6)\\,800\\,1600))):d=9 "
    "-filter_complex [0][1][2]concat=n=3:v=1[v] -map [v] -map 3:a -c:v libx264 -g 25 "
    "-pix_fmt yuv420p -c:a aac",
    "image.jpg": "-i base.mp4 -frames:v 1",
    # timestamps that begin late
    "late.mkv": f"{_COPY} -output_ts_offset 6",
    "late.mp4": f"{_COPY} -output_ts_offset 6",
    "late.ts": f"{_COPY} -output_ts_offset 6",
    "late.flv": f"{_COPY} -output_ts_offset 6",
    "late.webm": f"-i base.mp4 {_WEBM} -output_ts_offset 6",
    "late.mpg": "-i base.mp4 -c:v mpeg2video -c:a mp2 -output_ts_offset 6",
    "late.ogg": "-i base.mp4 -vn -c:a libvorbis -output_ts_offset 6",
    "late.opus": "-i base.mp4 -vn -c:a libopus -output_ts_offset 6",
    # other streams that are longer
    "subtitles.mkv": f"{_LONG_SUBTITLES} -c copy -c:s srt",
    "subtitles.mp4": f"{_LONG_SUBTITLES} -c copy -c:s mov_text",
    "subtitles.webm": f"{_LONG_SUBTITLES} {_WEBM} -c:s webvtt",
    "two_audio.mkv": _TWO_AUDIO,
    "two_audio.mp4": _TWO_AUDIO,
    # streams that lie far apart
    "apart.mp4": "-i base.mp4 -itsoffset 100000 -i base.mp4 -map 0:v -map 1:a -c copy",
    "apart.mkv": "-i base.mp4 -itsoffset 100000 -i base.mp4 -map 0:v -map 1:a -c copy",
    "apart.ts": "-i base.mp4 -itsoffset 1000 -i base.mp4 -map 0:v -map 1:a -c copy",
    "apart_video.mkv": "-itsoffset 100000 -i base.mp4 -i base.mp4 -map 0:v -map 1:a -c copy",
    # key frames that are rare, in formats without an index
    "keys.ts": f"{_RARE_KEYS} -c:v libx264 -c:a aac",
    "keys.m2ts": f"{_RARE_KEYS} -c:v libx264 -c:a aac",
    "keys.mpg": f"{_RARE_KEYS} -c:v mpeg2video -c:a mp2",
    "keys.vob": f"{_RARE_KEYS} -c:v mpeg2video -bf 2 -c:a ac3",
    "mpeg2.ts": f"{_RARE_KEYS} -c:v mpeg2video -bf 2 -c:a mp2",
    "hevc.ts": "-i base.mp4 -c:v libx265 -x265-params log-level=none:keyint=250:scenecut=0 "
    "-c:a ac3",
    "mpeg4.ts": f"{_RARE_KEYS} -c:v mpeg4 -c:a aac",
    "open_gop.ts": "-i base.mp4 -c:v libx264 -x264-params open-gop=1:keyint=50 -bf 3 -c:a aac",
    "refresh.ts": "-i base.mp4 -c:v libx264 -x264-params intra-refresh=1:keyint=50 -c:a aac",
    # elementary streams
    "raw.h264": "-i base.mp4 -an -c copy",
    "raw.hevc": "-i base.mp4 -an -c:v libx265 -x265-params log-level=none",
    "raw.m2v": "-i base.mp4 -an -c:v mpeg2video",
    "raw.mjpeg": "-i base.mp4 -an -c:v mjpeg",
    "raw50.h264": "-i base.mp4 -an -r 50 -c:v libx264",
    # recordings without a length, and fragments
    "live.webm": f"-i base.mp4 {_WEBM} -live 1",
    "fragments.mp4": f"{_COPY} -movflags frag_keyframe+empty_moov",
    "dash.mp4": f"{_COPY} -movflags frag_keyframe+empty_moov+dash+delay_moov",
    # whatever else
    "timecode.mov": f"{_COPY} -timecode 10:00:00:00",
    "repeated.ogv": "-i base.mp4 -c:v libtheora -c:a libvorbis",
    "palette.gif": "-i base.mp4 -vf fps=10",
    "palette.mkv": "-i base.mp4 -c:v png -pix_fmt pal8 -c:a pcm_s16le",
    "audio.m4a": "-i base.mp4 -vn -c copy",
    "video.mp4": "-i base.mp4 -an -c copy",
    "mono.wav": "-i base.mp4 -vn -ac 1",
    "cover.m4a": f"{_COVER} -c:a copy -c:v copy -disposition:v attached_pic",
    "one_frame.mkv": f"{_COVER} -c:a copy -c:v mjpeg",
    "one_frame.mp4": f"{_COVER} -c:a copy -c:v libx264 -pix_fmt yuv420p",
    "one_frame.avi": f"{_COVER} -c:a libmp3lame -c:v mjpeg",
}
# Files put end to end, as `cat` does.
JOINED = {
    "twice.ts": ("base.ts", "base.ts"),
    "ahead.ts": ("base.ts", "after1000s.ts"),
    "back.ts": ("after1000s.ts", "base.ts"),
    "chained.ogg": ("plain.ogg", "plain.ogg"),
    "chained.opus": ("plain.opus", "plain.opus"),
    "twice.mpg": ("plain.mpg", "plain.mpg"),
    "fragments_twice.mp4": ("piped.mp4", "piped.mp4"),
}
_PIECES = {
    "base.ts": _COPY,
    "after1000s.ts": f"{_COPY} -output_ts_offset 1000",
    "plain.ogg": "-i base.mp4 -vn -c:a libvorbis",
    "plain.opus": "-i base.mp4 -vn -c:a libopus",
    "plain.mpg": "-i base.mp4 -c:v mpeg2video -c:a mp2",
}
# Written to a pipe, so that no header was corrected at the end.
_PIPED = {
    "piped.mp4": f"{_COPY} -movflags frag_keyframe+empty_moov -f mp4",
    "piped.mkv": f"{_COPY} -f matroska",
    "piped.avi": "-i base.mp4 -c:v mpeg4 -c:a libmp3lame -f avi",
    "piped.flv": f"{_COPY} -f flv",
    "piped.wav": "-i base.mp4 -vn -f wav",
    "piped.au": "-i base.mp4 -vn -f au",
    "piped.flac": "-i base.mp4 -vn -f flac",
}


class OddMedia:
    """Makes files by name, each once.

    Args:
        folder: Where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "long.srt").write_text("1\n00:00:01,000 --> 00:00:30,000\nhello\n")

    def ffmpeg(self, *arguments: str) -> bytes:
        """Run ffmpeg in the folder; gives what it writes to its standard output."""
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-threads", "1"]
        done = subprocess.run(
            [*command, *arguments], cwd=self.folder, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def __call__(self, name: str) -> Path:
        """The file of a name of `RECIPES` and the like."""
        path = self.folder / name
        if path.exists():
            return path
        if name in JOINED:
            path.write_bytes(b"".join(self(part).read_bytes() for part in JOINED[name]))
            return path
        if name == "turned.mp4":
            self("base.mp4")
            self.ffmpeg("-display_rotation", "90", *_COPY.split(), name)
            return path
        recipe = {**RECIPES, **_PIECES, **_PIPED}[name].split()
        for needed in {"base.mp4", "image.jpg"} & set(recipe):
            self(needed)
        if name in _PIPED:
            path.write_bytes(self.ffmpeg(*recipe, "-"))
        else:
            self.ffmpeg(*recipe, name)
        return path


def colour(frame: np.ndarray) -> str:
    """The strongest channel of a frame."""
    return COLOURS[int(frame.mean(axis=(0, 1)).argmax())]


def tone_hz(audio: np.ndarray, rate_hz: int) -> float:
    """The strongest frequency of samples; 0 in silence."""
    if not audio.any():
        return 0.0
    spectrum = np.abs(np.fft.rfft(audio.astype(float)))
    return float(np.fft.rfftfreq(len(audio), 1 / rate_hz)[spectrum.argmax()])
