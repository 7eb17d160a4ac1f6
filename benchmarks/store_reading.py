"""Random access to batches of 64 clips: the store's arrays against other storage formats.

    python benchmarks/store_reading.py [--clips 1000] [--rounds 7] [--out FILE.md]

A clip is a 224x224 RGB frame and 3 s of 16 kHz, 16-bit audio. Every reader returns the same two
arrays, which is verified before timing; all files are in the page cache; one process and one thread
each. The rounds of the readers alternate, so that load on the machine affects all of them equally;
the median is reported. Readers whose package is missing are skipped: `pip install
cign[benchmarks]`, and pylance.
"""

from __future__ import annotations

import argparse
import io
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from scipy.io import wavfile

from cign.data.arrays import RowWriter, create_array, map_array

SIZE_PX, RATE_HZ, NUM_SAMPLES, BATCH = 224, 16_000, 48_000, 64
FRAME_SHAPE = (SIZE_PX, SIZE_PX, 3)

Batch = tuple[np.ndarray, np.ndarray]
Reader = Callable[[np.ndarray], Batch]


def make_clips(num_clips: int) -> Batch:
    """Smooth frames with a little noise, as compressible as photographs, and similar audio."""
    rng = np.random.default_rng(0)
    frames = np.empty((num_clips, *FRAME_SHAPE), np.uint8)
    audio = np.empty((num_clips, NUM_SAMPLES), np.int16)
    times_s = np.arange(NUM_SAMPLES) / RATE_HZ
    for index in range(num_clips):
        coarse = rng.integers(0, 256, (14, 14, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((SIZE_PX, SIZE_PX), Image.BICUBIC))
        grain = rng.normal(0, 2, FRAME_SHAPE)
        frames[index] = np.clip(smooth + grain, 0, 255)
        tone = np.sin(2 * np.pi * rng.uniform(100, 2000) * times_s)
        audio[index] = 8000 * tone + rng.normal(0, 300, NUM_SAMPLES)
    return frames, audio


def store_reader(folder: Path, frames: np.ndarray, audio: np.ndarray) -> Reader:
    mapped = []
    for name, values in (("frames", frames), ("audio", audio)):
        path = folder / f"{name}.npy"
        create_array(path, values.shape, values.dtype.name)
        with RowWriter(path) as writer:
            writer.write(0, values)
        mapped.append(map_array(path, values.shape, values.dtype.name, "benchmark"))
    return lambda indices: (mapped[0][indices], mapped[1][indices])


def files_reader(folder: Path, frames: np.ndarray, audio: np.ndarray) -> Reader:
    """A jpg and a wav file per clip; frames are lossy, so only their shapes are verified."""
    for index, (frame, samples) in enumerate(zip(frames, audio, strict=True)):
        Image.fromarray(frame).save(folder / f"{index}.jpg", quality=90)
        wavfile.write(folder / f"{index}.wav", RATE_HZ, samples)

    def read(indices: np.ndarray) -> Batch:
        images = [np.asarray(Image.open(folder / f"{i}.jpg")) for i in indices]
        waves = [wavfile.read(folder / f"{i}.wav")[1] for i in indices]
        return np.stack(images), np.stack(waves)

    return read


def to_table(frames: np.ndarray, audio: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "frame": pa.array([x.tobytes() for x in frames], pa.large_binary()),
            "audio": pa.array([x.tobytes() for x in audio], pa.large_binary()),
        }
    )


def from_bytes(frames: list[bytes], audio: list[bytes]) -> Batch:
    return (
        np.stack([np.frombuffer(x, np.uint8).reshape(FRAME_SHAPE) for x in frames]),
        np.stack([np.frombuffer(x, np.int16) for x in audio]),
    )


def open_arrow(folder: Path, frames: np.ndarray, audio: np.ndarray) -> pa.Table:
    path = folder / "clips.arrow"
    table = to_table(frames, audio)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=256)
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def arrow_take_reader(folder: Path, frames: np.ndarray, audio: np.ndarray) -> Reader:
    table = open_arrow(folder, frames, audio)

    def read(indices: np.ndarray) -> Batch:
        rows = table.take(pa.array(indices))
        return from_bytes(rows["frame"].to_pylist(), rows["audio"].to_pylist())

    return read


def arrow_buffer_reader(folder: Path, frames: np.ndarray, audio: np.ndarray) -> Reader:
    table = open_arrow(folder, frames, audio)

    def read(indices: np.ndarray) -> Batch:
        return from_bytes(
            [table["frame"][int(i)].as_buffer() for i in indices],
            [table["audio"][int(i)].as_buffer() for i in indices],
        )

    return read


def datasets_reader(folder: Path, frames: np.ndarray, audio: np.ndarray) -> Reader:
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset(to_table(frames, audio)).save_to_disk(str(folder / "hf"))
    data = datasets.load_from_disk(str(folder / "hf"))

    def read(indices: np.ndarray) -> Batch:
        rows = data[indices.tolist()]
        return from_bytes(rows["frame"], rows["audio"])

    return read


def lance_reader(folder: Path, frames: np.ndarray, audio: np.ndarray) -> Reader:
    import lance

    data = lance.write_dataset(to_table(frames, audio), str(folder / "clips.lance"))

    def read(indices: np.ndarray) -> Batch:
        rows = data.take(indices.tolist())
        return from_bytes(rows["frame"].to_pylist(), rows["audio"].to_pylist())

    return read


READERS: dict[str, Callable[[Path, np.ndarray, np.ndarray], Reader]] = {
    "memory-mapped arrays (the store)": store_reader,
    "Arrow file, `col[i].as_buffer()`": arrow_buffer_reader,
    "Arrow file, `take`": arrow_take_reader,
    "HF datasets, binary columns": datasets_reader,
    "Lance, `take`": lance_reader,
    "jpg + wav per clip": files_reader,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    frames, audio = make_clips(options.clips)
    rng = np.random.default_rng(1)
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        readers: dict[str, Reader] = {}
        for number, (name, build) in enumerate(READERS.items()):
            place = Path(folder) / str(number)
            place.mkdir()
            try:
                readers[name] = build(place, frames, audio)
            except ImportError as error:
                print(f"{name}: skipped ({error})")
                continue
            indices = rng.integers(0, options.clips, BATCH)
            images, waves = readers[name](indices)
            assert np.array_equal(waves, audio[indices]), name
            if build is files_reader:
                assert images.shape == (BATCH, *FRAME_SHAPE)
            else:
                assert np.array_equal(images, frames[indices]), name
            seconds[name] = []
        del frames, audio
        for _ in range(options.rounds):
            for name, read in readers.items():
                batches = rng.integers(0, options.clips, (options.batches, BATCH))
                start = time.perf_counter()
                for indices in batches:
                    read(indices)
                seconds[name].append(time.perf_counter() - start)
    report(seconds, options, READERS)


def report(seconds: dict[str, list[float]], options: argparse.Namespace, order: object) -> None:
    num_clips = options.batches * BATCH
    rates = {name: num_clips / statistics.median(found) for name, found in seconds.items()}
    files = rates["jpg + wav per clip"]
    text = io.StringIO()
    print("# Random access to batches of 64 clips\n", file=text)
    print("`python benchmarks/store_reading.py`; one run.\n", file=text)
    print("| reader | clips/s | ratio to jpg + wav |\n| --- | --- | --- |", file=text)
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        print(f"| {name} | {rate:,.0f} | {rate / files:.1f} |", file=text)
    ratio = rates["memory-mapped arrays (the store)"] / files
    print(
        f"\nRequirement: the store at least 10 times jpg + wav; measured {ratio:.1f}.\n\n"
        f"{options.clips} clips of 246 kB, median of {options.rounds} rounds of {options.batches} "
        f"batches, warm page cache, one process. Python {platform.python_version()}, numpy "
        f"{np.__version__}, pyarrow {pa.__version__}, {platform.machine()}.",
        file=text,
    )
    print(text.getvalue())
    if options.out is not None:
        options.out.write_text(text.getvalue())


if __name__ == "__main__":
    main()
