"""Construction of the clips of `real.py` from an image and a sound: pure functions and decoding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from cign.data.media.audio import MonoResampler
from cign.data.media.image_files import decode_image
from cign.data.media.video import to_square
from cign.errors import InputError
from cign.synthetic.encode import Encoding

ENCODING = Encoding(frame_rate_hz=2, sample_rate_hz=44_100, crf=24, audio_bits_per_s=96_000)
RATE_HZ = ENCODING.sample_rate_hz
LONGEST_SIDE_PX = 320
TILE_PX = 160
SHORTEST_S, LONGEST_S = 0.7, 4.0
SHORTEST_MIX_S = 2.0
SILENCE = 0.02  # of the peak
WINDOW_STEP_S = 0.05
PEAK_OF_MIX = 0.9
NUM_TILES = 4

Sound = NDArray[np.float64]
Image = NDArray[np.uint8]


def _frame(path: Path) -> av.VideoFrame:
    frame = decode_image(path)
    if frame is None:
        raise InputError(
            "file-unreadable", f"{path} cannot be decoded as an image: download it again"
        )
    return frame


def read_image(path: Path) -> Image:
    """Read an image, reduced to a longest side of 320 px; uint8 [H, W, 3], H and W even."""
    frame = _frame(path)
    scale = min(1.0, LONGEST_SIDE_PX / max(frame.width, frame.height))
    width, height = (max(2, 2 * round(side * scale / 2)) for side in (frame.width, frame.height))
    return frame.to_ndarray(width=width, height=height, format="rgb24", interpolation="BILINEAR")


def read_tile(path: Path) -> Image:
    """Read an image, resized without cropping to uint8 [160, 160, 3]."""
    return to_square(_frame(path), TILE_PX)


def read_sound(path: Path) -> Sound:
    """Read a sound as mono at 44.1 kHz, in [-1, 1], cut and padded by `shorten`; [L]."""
    resampler = MonoResampler(RATE_HZ)
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            pieces = [resampler.convert(frame) for frame in container.decode(audio=0)]
        pieces.append(resampler.convert(None))
    except (av.error.FFmpegError, OSError, IndexError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            "file-unreadable", f"{path} cannot be decoded as audio ({reason}): download it again"
        ) from None
    sound = np.concatenate(pieces) / 32768.0
    if not sound.any():
        raise InputError("bad-clip", f"{path} is silent: download it again")
    return shorten(sound)


def shorten(sound: Sound) -> Sound:
    """Trim silence at both ends; take the loudest 4 s; pad with silence to 0.7 s.

    Silence is below 2 % of the peak. The loudest window has the highest energy; windows start every
    50 ms, and the first of equal windows is taken.

    Args:
        sound: Samples at 44.1 kHz, not all zero, [L].
    """
    level = np.abs(sound)
    audible = np.flatnonzero(level >= SILENCE * level.max())
    sound = sound[audible[0] : audible[-1] + 1]
    length = round(LONGEST_S * RATE_HZ)
    if len(sound) > length:
        energy = np.concatenate([[0.0], np.cumsum(sound**2)])
        starts = np.arange(0, len(sound) - length + 1, round(WINDOW_STEP_S * RATE_HZ))
        start = starts[np.argmax(energy[starts + length] - energy[starts])]
        sound = sound[start : start + length]
    return np.pad(sound, (0, max(0, round(SHORTEST_S * RATE_HZ) - len(sound))))


def mix(first: Sound, second: Sound) -> Sound:
    """Add two sounds at the same root mean square; the peak of the sum is 0.9.

    Both are repeated to the longer one's length, at least 2 s.
    """
    length = max(round(SHORTEST_MIX_S * RATE_HZ), len(first), len(second))
    total = np.zeros(length)
    for sound in (first, second):
        repeated = np.resize(sound, length)
        total += repeated / np.sqrt(np.mean(repeated**2))
    return total * (PEAK_OF_MIX / np.abs(total).max())


def tile_of(box: str) -> int:
    """Return the number of the tile, row by row from the top left, that a box is.

    Raises:
        InputError: If the box is none of the four tiles.
    """
    edges = tuple(float(edge) for edge in box.split(","))
    for tile in range(NUM_TILES):
        x, y = tile % 2 / 2, tile // 2 / 2
        if edges == (x, y, x + 0.5, y + 0.5):
            return tile
    raise InputError("bad-list", f"box {box!r} is none of the four tiles: restore the list")


def arrange(image: Image, others: Sequence[Image], tile: int) -> Image:
    """Put an image in a tile and three others in the remaining ones; uint8 [320, 320, 3]."""
    tiles = [*others[:tile], image, *others[tile:]]
    return np.concatenate([np.concatenate(tiles[row : row + 2], axis=1) for row in (0, 2)])


def to_frames(image: Image, num_samples: int) -> Image:
    """Repeat a still for the length of a sound at 2 frames/s, at least twice; [T, H, W, 3]."""
    num_frames = max(2, round(ENCODING.frame_rate_hz * num_samples / RATE_HZ))
    return np.broadcast_to(image, (num_frames, *image.shape))


def to_int16(sound: Sound) -> NDArray[np.int16]:
    """Convert samples in [-1, 1] to 16 bits."""
    return np.clip(np.rint(32768.0 * sound), -32768, 32767).astype(np.int16)
