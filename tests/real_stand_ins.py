"""Stand-ins for the originals of the benchmark of real recordings: plain images and tones."""

import csv
import zlib

import av
import numpy as np

from benchmark_scripts import BENCHMARKS

RATE_HZ = 44_100
SETS = ("real24", "real24_clutter", "real24_duets")


def rows_of(name, folder=BENCHMARKS / "real"):
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def seed_of(name):
    return zlib.crc32(name.encode())


def color_of(name):
    """A color of an image's name, away from black and white."""
    return np.random.default_rng(seed_of(name)).integers(60, 200, 3)


def frequency_of(name):
    """A frequency of a sound's name in hertz: multiples of 20 Hz, whole periods in 0.05 s."""
    return 400.0 + 20.0 * (seed_of(name) % 120)


def length_of(name):
    """Audible length of a sound in seconds: shorter than 0.7 s, between, or longer than 4 s."""
    return (0.4, 1.5, 5.5)[seed_of(name) % 3]


def expected_s(name):
    """Length of a sound after trimming, cutting and padding, in seconds."""
    return min(4.0, max(0.7, length_of(name)))


def write_image(path, name):
    height, width = ((300, 200), (120, 640))[seed_of(name) % 2]
    image = np.broadcast_to(color_of(name).astype(np.uint8), (height, width, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuvj444p"
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode(None)])


def write_sound(path, name):
    """A tone between silence, in the format of the original; loudness differs by name."""
    rate_hz = 8_000 if name.endswith(".wav") else RATE_HZ
    kind, codec = {
        ".wav": ("wav", "pcm_s16le"),
        ".mp3": ("mp3", "libmp3lame"),
        ".ogg": ("ogg", "flac"),
    }[path.suffix]
    times_s = np.arange(round(length_of(name) * rate_hz)) / rate_hz
    tone = (0.05 + 0.1 * (seed_of(name) % 7)) * np.sin(2 * np.pi * frequency_of(name) * times_s)
    silence = np.zeros(round(0.3 * rate_hz))
    samples = (32767 * np.concatenate([silence, tone, silence])).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        stream.format = "s16p" if codec == "libmp3lame" else "s16"
        frame = av.AudioFrame.from_ndarray(
            samples[None], format="s16p" if codec == "libmp3lame" else "s16", layout="mono"
        )
        frame.sample_rate, frame.pts = rate_hz, 0
        container.mux([*stream.encode(frame), *stream.encode(None)])


def decode(path):
    """First frame in [0, 255], number of frames, and samples of a clip."""
    with av.open(path) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].average_rate == 2
    with av.open(path) as container:
        stream = container.streams.audio[0]
        codec = stream.codec_context
        assert (codec.name, codec.sample_rate, codec.layout.name) == ("aac", RATE_HZ, "mono")
        length = round(float(stream.duration * stream.time_base) * RATE_HZ)
        pieces = [frame.to_ndarray()[0] for frame in container.decode(stream)]
    return frames[0].astype(float), len(frames), np.concatenate(pieces)[:length]
