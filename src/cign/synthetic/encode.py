"""Write clips as MP4: H.264 (yuv420p) and AAC, with PyAV."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from cign.synthetic.config import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from cign.utils.files import replacing

# A key frame every second makes seeking cheap; one thread, because clips are encoded in parallel.
_VIDEO_OPTIONS = {"preset": "ultrafast", "crf": "23", "g": str(FRAME_RATE_HZ), "threads": "1"}
_AUDIO_BITS_PER_S = 64_000
_AUDIO_OPTIONS = {"aac_coder": "fast"}


def write_mp4(
    target: BinaryIO | io.BytesIO, frames: NDArray[np.uint8], audio: NDArray[np.int16]
) -> None:
    """Encode a clip into an open file.

    Args:
        target: A seekable file.
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
            image = av.VideoFrame.from_ndarray(frame, format="rgb24")
            image.pts = number
            container.mux(video.encode(image))
        container.mux(video.encode(None))
        # The encoder needs floats; converting here avoids a resampler and its rounding.
        samples = (audio[None].astype(np.float32)) / np.float32(32768.0)
        audio_frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        audio_frame.sample_rate = SAMPLE_RATE_HZ
        audio_frame.pts = 0
        container.mux(track.encode(audio_frame))
        container.mux(track.encode(None))


def save_mp4(path: Path, frames: NDArray[np.uint8], audio: NDArray[np.int16]) -> None:
    """Encode a clip to a file, written atomically."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        write_mp4(file, frames, audio)
