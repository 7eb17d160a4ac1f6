"""`prepare` without tokens against the same seeking and decoding by PyAV alone.

    python benchmarks/prepare_speed.py [--clips 48] [--rounds 3] [--workers 2] [--out FILE.md]

Clips: 10 s of moving 640x360 H.264 with a key frame every 250 frames, and AAC. The baseline seeks
to the key frame before the middle, decodes up to the middle frame and converts it to RGB, decodes
the central 3 s of audio and resamples it, with the same number of processes. It does not resize,
write or check anything. The processes of both are started in each round; a second row excludes the
start of the baseline's processes. Requires the development packages, for ffmpeg.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import imageio_ffmpeg

from cign.data.media.decode import MediaSpec
from cign.data.prepare.pipeline import prepare

RATE_HZ, DURATION_S, WINDOW_S = 22050, 10.0, 3.0


def make_clips(folder: Path, num_clips: int) -> list[Path]:
    """Make clips of two classes; each file has different video and audio."""
    paths = []
    for number in range(num_clips):
        path = folder / "train" / f"class {number % 2}" / f"{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        video = f"mandelbrot=size=640x360:rate=25:start_scale={1 + 0.05 * number}"
        audio = f"sine=frequency={200 + 10 * number}:sample_rate=44100"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error"]
        command += ["-f", "lavfi", "-i", video, "-f", "lavfi", "-i", audio, "-t", str(DURATION_S)]
        command += ["-c:v", "libx264", "-preset", "veryfast", "-g", "250", "-pix_fmt", "yuv420p"]
        subprocess.run([*command, "-c:a", "aac", str(path)], check=True)
        paths.append(path)
    return paths


def bare(paths: list[Path]) -> None:
    """The baseline: decode with PyAV alone."""
    start_s = (DURATION_S - WINDOW_S) / 2
    for path in paths:
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            video.codec_context.thread_type = audio.codec_context.thread_type = "NONE"
            container.seek(int(DURATION_S / 2 / video.time_base), stream=video)
            for frame in container.decode(video):
                if frame.time + 1 / 25 > DURATION_S / 2:
                    frame.to_ndarray(format="rgb24")
                    break
            resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
            container.seek(int(start_s / audio.time_base), stream=audio)
            for block in container.decode(audio):
                if block.time > start_s + WINDOW_S:
                    break
                for part in resampler.resample(block):
                    part.to_ndarray()


def time_bare(paths: list[Path], num_workers: int) -> tuple[float, float]:
    """Seconds of the processes including their start, and of the slowest one's work alone."""
    start = time.perf_counter()
    command = [sys.executable, __file__, "--bare"]
    processes = [
        subprocess.Popen(
            [*command, *map(str, paths[number::num_workers])], stdout=subprocess.PIPE, text=True
        )
        for number in range(num_workers)
    ]
    work = max(float(process.communicate()[0]) for process in processes)
    return time.perf_counter() - start, work


def time_prepare(source: Path, store: Path, num_workers: int) -> float:
    start = time.perf_counter()
    prepare(source, store, spec=MediaSpec(), num_workers=num_workers)
    seconds = time.perf_counter() - start
    shutil.rmtree(store)
    return seconds


def main() -> None:
    if sys.argv[1:2] == ["--bare"]:
        start = time.perf_counter()
        bare([Path(name) for name in sys.argv[2:]])
        print(time.perf_counter() - start)
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "clips"
        paths = make_clips(source, options.clips)
        for _ in range(options.rounds):
            whole, work = time_bare(paths, options.workers)
            found.append((time_prepare(source, Path(folder) / "s", options.workers), whole, work))
    ours, whole, work = (
        options.clips / statistics.median(column) for column in zip(*found, strict=True)
    )
    text = f"""# Preparing without tokens

`python benchmarks/prepare_speed.py`; one run.

| | clips/s | ratio of `prepare` to it |
| --- | --- | --- |
| `prepare` | {ours:.1f} | |
| PyAV alone, including the start of its processes | {whole:.1f} | {ours / whole:.2f} |
| PyAV alone, excluding the start | {work:.1f} | {ours / work:.2f} |

Requirement: at least 0.9 of PyAV alone. `prepare` can exceed 1, because it skips frames that no
other frame depends on, until half a second before the target frame.

{options.clips} clips of 10 s, 640x360 H.264 with a key frame every 250 frames, AAC;
{options.workers} processes; median of {options.rounds} rounds.
Python {platform.python_version()}, PyAV {av.__version__}, {platform.machine()}.
"""
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
