"""Empty recordings for label files whose times are in seconds, and a short video."""

import subprocess
from pathlib import Path

import imageio_ffmpeg

from lists import read


def recordings(folder: Path, *names: str) -> Path:
    """Files that exist and are never opened."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def video(path: Path, rate: str = "25", seconds: float = 2.0) -> Path:
    """A small video made by ffmpeg."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = f"testsrc2=size=48x32:rate={rate}:duration={seconds}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-f", "lavfi", "-i", source]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


def segments(source: Path, format: str | None = None, **options) -> dict:
    """Labels by recording, start and end."""
    table = read(source, format, **options)
    return {(clip.source, clip.start_s, clip.end_s): clip.labels for clip in table.clips}
