"""A server for live streams of known content: MPEG-TS over HTTP in real time, or faster.

Used by `benchmarks/live.py` and the tests. It reads the clock references (PCR) of the stream by
itself, so that what it says about sending times does not depend on the software that is tested.
"""

from __future__ import annotations

import os
import socket
import socketserver
import struct
import subprocess
import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import imageio_ffmpeg

PACKET = 188


def join_clips(clips: Sequence[Path], out: Path, *, size: int = 96) -> None:
    """Join clips to one MPEG-TS with continuous timestamps: H.264 and AAC."""
    listing = out.with_suffix(".txt")
    listing.write_text("".join(f"file '{clip.absolute()}'\n" for clip in clips))
    subprocess.run(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "concat", "-safe", "0"),
            *("-i", str(listing), "-vf", f"scale={size}:{size},fps=25", "-af", "aresample=async=1"),
            *("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-bf", "0"),
            *("-pix_fmt", "yuv420p", "-c:a", "aac", "-ar", "44100", "-ac", "1"),
            *("-muxdelay", "0", "-muxpreload", "0", "-pcr_period", "20"),
            *("-f", "mpegts", str(out)),
        ],
        check=True,
    )


class Schedule:
    """When the bytes of an MPEG-TS are sent: at the time of the clock reference before them.

    Args:
        data: The stream.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._offsets: list[int] = []
        self._times_s: list[float] = []
        for at in range(0, len(data) - PACKET + 1, PACKET):
            has_field = data[at + 3] & 0x20 and data[at + 4] >= 7
            if has_field and data[at + 5] & 0x10:
                b = data[at + 6 : at + 12]
                base = (b[0] << 25) | (b[1] << 17) | (b[2] << 9) | (b[3] << 1) | (b[4] >> 7)
                self._offsets.append(at)
                self._times_s.append(base / 90_000)
        first_s = self._times_s[0]
        self._times_s = [time_s - first_s for time_s in self._times_s]

    @property
    def duration_s(self) -> float:
        """Time of the last clock reference, in seconds from the first one."""
        return self._times_s[-1]

    def sent_up_to(self, time_s: float) -> int:
        """Number of bytes that are sent by a time in seconds."""
        index = bisect_left(self._times_s, time_s)
        return len(self.data) if index == len(self._times_s) else self._offsets[index]

    def sent_at_s(self, offset: int) -> float:
        """When a byte is sent: the time of the clock reference before it, in seconds."""
        return self._times_s[max(bisect_right(self._offsets, offset) - 1, 0)]


class LiveServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """Sends a stream to everybody who connects, from what is sent now on.

    Args:
        data: An MPEG-TS.
        speed: Seconds of the stream per second.
        cuts_s: Times of the stream at which all connections are cut.
        outage_s: Seconds of the stream during which nobody can connect after a cut.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        data: bytes,
        *,
        speed: float = 1.0,
        cuts_s: Sequence[float] = (),
        outage_s: float = 0.0,
    ) -> None:
        self.schedule, self.speed = Schedule(data), speed
        self.outages = [(cut_s, cut_s + outage_s) for cut_s in cuts_s]
        self.begun_s: float | None = None  # time.monotonic() when the first client came
        self._first = threading.Lock()
        self.num_connections = self.num_refused = 0
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Address of the stream."""
        return f"http://127.0.0.1:{self.server_address[1]}/live.ts"

    def now_s(self) -> float:
        """Time of the stream; 0 until the first client has come."""
        with self._first:
            if self.begun_s is None:
                self.begun_s = time.monotonic()
            return (time.monotonic() - self.begun_s) * self.speed

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: LiveServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server, schedule = self.server, self.server.schedule
        now_s = server.now_s()
        if any(low <= now_s < high for low, high in server.outages):
            server.num_refused += 1
            self.send_error(503)
            return
        is_first = server.num_connections == 0
        server.num_connections += 1
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        # Only so can a client tell the end of a stream from a lost connection.
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        until_s = min((low for low, _ in server.outages if low > now_s), default=float("inf"))
        sent = 0 if is_first else schedule.sent_up_to(now_s)
        while sent < len(schedule.data):
            now_s = server.now_s()
            if now_s >= until_s:
                self._reset()
                return
            upto = schedule.sent_up_to(now_s)
            if upto > sent:
                self.wfile.write(b"%x\r\n%b\r\n" % (upto - sent, schedule.data[sent:upto]))
                sent = upto
            time.sleep(0.01)
        self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        """Cut the connection with a reset, as a router that restarts does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def log_message(self, *_: object) -> None:
        """Say nothing."""
