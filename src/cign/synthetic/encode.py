"""Write clips as MP4: H.264 (yuv420p) and AAC, with PyAV."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from cign.synthetic.config import FRAME_RATE_HZ, SAMPLE_RATE_HZ
from cign.utils.files import replacing

_AUDIO_OPTIONS = {"aac_coder": "fast"}


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Settings of the encoders; the defaults are those of the synthetic datasets.

    Attributes:
        frame_rate_hz: Frames per second.
        sample_rate_hz: Sample rate of the audio in hertz.
        crf: Constant rate factor of H.264: 0 is lossless, 51 the lowest quality.
        audio_bits_per_s: Bit rate of AAC.
    """

    frame_rate_hz: int = FRAME_RATE_HZ
    sample_rate_hz: int = SAMPLE_RATE_HZ
    crf: int = 23
    audio_bits_per_s: int = 64_000


_SYNTHETIC = Encoding()


def write_mp4(
    target: BinaryIO | io.BytesIO,
    frames: NDArray[np.uint8],
    audio: NDArray[np.int16],
    encoding: Encoding = _SYNTHETIC,
) -> None:
    """Encode a clip into an open file.

    Args:
        target: A seekable file.
        frames: ``[T, H, W, 3]``, RGB; H and W even.
        audio: ``[L]``, mono, at the sample rate of ``encoding``.
        encoding: Settings of the encoders.
    """
    # A key frame every second makes seeking cheap; one thread, because clips are encoded in
    # parallel.
    video_options = {
        "preset": "ultrafast",
        "crf": str(encoding.crf),
        "g": str(encoding.frame_rate_hz),
        "threads": "1",
    }
    with av.open(target, "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=encoding.frame_rate_hz, options=video_options)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        track = container.add_stream(
            "aac", rate=encoding.sample_rate_hz, layout="mono", options=_AUDIO_OPTIONS
        )
        track.bit_rate = encoding.audio_bits_per_s
        for number, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(frame, format="rgb24")
            image.pts = number
            container.mux(video.encode(image))
        container.mux(video.encode(None))
        # The encoder needs floats; converting here avoids a resampler and its rounding.
        samples = (audio[None].astype(np.float32)) / np.float32(32768.0)
        audio_frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        audio_frame.sample_rate = encoding.sample_rate_hz
        audio_frame.pts = 0
        container.mux(track.encode(audio_frame))
        container.mux(track.encode(None))


def save_mp4(
    path: Path,
    frames: NDArray[np.uint8],
    audio: NDArray[np.int16],
    encoding: Encoding = _SYNTHETIC,
) -> None:
    """Encode a clip to a file, written atomically; arguments as for `write_mp4`."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        write_mp4(file, frames, audio, encoding)
