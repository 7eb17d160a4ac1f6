"""Writes clips as MP4: H.264 (yuv420p) and AAC, through PyAV."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from cign.synthetic.config import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from cign.utils.files import replacing

# A key frame every second keeps seeks cheap; one thread, as clips are encoded in parallel.
_VIDEO_OPTIONS = {"preset": "ultrafast", "crf": "23", "g": str(FRAME_RATE_HZ), "threads": "1"}
_AUDIO_BITS_PER_S = 64_000
_AUDIO_OPTIONS = {"aac_coder": "fast"}


def write_mp4(
    target: BinaryIO | io.BytesIO, frames: NDArray[np.uint8], audio: NDArray[np.int16]
) -> None:
    """Encode a clip into an open file.

    Args:
        target: A file that can seek.
        frames: ``[T, S, S, 3]``, RGB.
        audio: ``[L]``, mono, 16 kHz.
    """
    with av.open(target, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=FRAME_RATE_HZ, options=_VIDEO_OPTIONS)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        track = container.add_stream(
            "aac", rate=SAMPLE_RATE_HZ, layout="mono", options=_AUDIO_OPTIONS
        )
        track.bit_rate = _AUDIO_BITS_PER_S
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
        # The encoder wants floats; made here, a resampler and its rounding are avoided.
        samples = (audio[None].astype(np.float32)) / np.float32(32768.0)
        sound = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        sound.sample_rate = SAMPLE_RATE_HZ
        sound.pts = 0
        container.mux(track.encode(sound))
        container.mux(track.encode(None))


def save_mp4(path: Path, frames: NDArray[np.uint8], audio: NDArray[np.int16]) -> None:
    """Encode a clip into a file that is whole or not there."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        write_mp4(file, frames, audio)
