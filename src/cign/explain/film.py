"""A video of drawn figures with the audio of the clip: H.264 and AAC in MP4."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from cign.explain.canvas import HEIGHT, WIDTH
from cign.utils.files import replacing

FRAME_RATE_HZ = 20
_AAC_SAMPLES = 1024


class Film:
    """Context manager that encodes figures and audio in order and writes the file atomically.

    Args:
        path: Path of the MP4 file.
        rate_hz: Sample rate of the audio in Hz.
    """

    def __init__(self, path: Path, rate_hz: int) -> None:
        self._path, self._rate_hz = path, rate_hz
        self._stack = ExitStack()
        self._seconds = 0.0
        self._num_frames = self._num_samples = 0

    def __enter__(self) -> Film:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self._path))
            self._container = stack.enter_context(av.open(str(temporary), "w", format="mp4"))
            self._video = self._container.add_stream("libx264", rate=FRAME_RATE_HZ)
            self._video.width, self._video.height = WIDTH, HEIGHT
            self._video.pix_fmt = "yuv420p"
            self._video.options = {"crf": "18", "preset": "veryfast"}
            self._audio = self._container.add_stream("aac", rate=self._rate_hz)
            self._audio.layout = "mono"
            self._rest = np.zeros(0, np.int16)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self._stack.__exit__(*error)  # type: ignore[arg-type]
            return
        with self._stack:
            self._encode_audio(np.zeros(-len(self._rest) % _AAC_SAMPLES, np.int16))
            for stream in (self._video, self._audio):
                self._container.mux(stream.encode(None))

    def add(
        self,
        pictures: Iterable[NDArray[np.uint8]],
        num_pictures: int,
        shown_s: float,
        sound: NDArray[np.int16] | None,
    ) -> None:
        """Show figures for equal times, with audio.

        Args:
            pictures: Figures, uint8 RGB, [HEIGHT, WIDTH, 3] each.
            num_pictures: Their number.
            shown_s: Total duration in seconds.
            sound: Audio from the first figure on, int16; cut or padded with silence.
        """
        begin_s = self._seconds
        self._seconds += shown_s
        for number, picture in enumerate(pictures, start=1):
            until = round((begin_s + shown_s * number / num_pictures) * FRAME_RATE_HZ)
            while self._num_frames < until:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = self._num_frames
                frame.time_base = Fraction(1, FRAME_RATE_HZ)
                self._container.mux(self._video.encode(frame))
                self._num_frames += 1
        have = self._num_samples + len(self._rest)
        samples = np.zeros(max(0, round(self._seconds * self._rate_hz) - have), np.int16)
        if sound is not None:
            available = sound[: len(samples)]
            samples[: len(available)] = available
        self._encode_audio(samples)

    def _encode_audio(self, samples: NDArray[np.int16]) -> None:
        """Encode complete AAC frames; buffer the remaining samples."""
        samples = np.concatenate([self._rest, samples])
        num = len(samples) // _AAC_SAMPLES * _AAC_SAMPLES
        for begin in range(0, num, _AAC_SAMPLES):
            part = np.ascontiguousarray(samples[None, begin : begin + _AAC_SAMPLES])
            frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
            frame.rate, frame.pts = self._rate_hz, self._num_samples
            frame.time_base = Fraction(1, self._rate_hz)
            self._container.mux(self._audio.encode(frame))
            self._num_samples += _AAC_SAMPLES
        self._rest = samples[num:]
