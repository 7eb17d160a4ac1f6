"""Live media and servers for the tests; nothing here uses the code that is tested, but `read`."""

import socket
import socketserver
import struct
import subprocess
import threading
import time

import imageio_ffmpeg

from cign.data.media.decode import MediaSpec
from cign.data.media.live.source import LiveOptions, LiveSource
from cign.data.media.live.waiting import Waiting
from cign.inference.live import as_place

SPEC = MediaSpec(num_frames=2, frame_px=32, rate_hz=16000, window_s=1.0)


def ffmpeg(folder, command):
    """Run ffmpeg in a folder."""
    tool = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-threads", "1"]
    subprocess.run([*tool, *command.split()], check=True, cwd=folder)


def read(name, spec=SPEC, *, seconds=20, most=None, **options):
    """Everything that a source passes on, for at most some seconds: windows, remarks, the end."""
    waiting = Waiting(1)
    how = LiveOptions(**{"every_s": 0.5, "timeout_s": 1.0, **options})
    LiveSource(as_place(name).place, 0, spec, how, waiting).start()
    until, items = time.monotonic() + seconds, []
    while time.monotonic() < until and not (items and items[-1].is_end):
        items += waiting.take(16, 0.05)
        if most is not None and sum(one.window is not None for one in items) >= most:
            break
    waiting.stop()
    return items


def windows(items):
    return [one.window.decoded for one in items if one.window is not None]


def notes(items):
    return [one.note for one in items if one.note]


class Raw(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A server that answers each connection by a function of its socket."""

    daemon_threads = True

    def __init__(self, answer):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.recv(65536)
                answer(self.request)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/live.ts"

    def handle_error(self, request, client_address):
        """Clients go away."""


class Rtsp(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """RTSP with MPEG-TS in RTP (RFC 2250) over the same connection (RFC 2326, 10.12)."""

    daemon_threads = True

    def __init__(self, schedule, speed):
        self.schedule, self.speed = schedule, speed
        super().__init__(("127.0.0.1", 0), _RtspHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"rtsp://127.0.0.1:{self.server_address[1]}/live"


class _RtspHandler(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            lines = []
            while (line := self.rfile.readline().strip()) or not lines:
                if not line:
                    return
                lines.append(line.decode())
            method, url, _ = lines[0].split()
            headers = dict(one.split(": ", 1) for one in lines[1:])
            more, body = "", ""
            if method == "OPTIONS":
                more = "Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\n"
                more = f"Content-Type: application/sdp\r\nContent-Base: {url}/\r\n"
            elif method == "SETUP":
                more = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {headers['CSeq']}\r\n{more}"
            answer += f"Content-Length: {len(body)}\r\n\r\n{body}"
            self.wfile.write(answer.encode())
            if method == "PLAY":
                self._play()
                return

    def _play(self):
        schedule, begun, sent, number = self.server.schedule, time.monotonic(), 0, 0
        size = 7 * 188
        while sent < len(schedule.data):
            upto = schedule.sent_up_to((time.monotonic() - begun) * self.server.speed)
            while sent < upto:
                piece = schedule.data[sent : sent + size]
                header = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 3000, 1)
                packet = header + piece
                self.wfile.write(b"$" + struct.pack(">BH", 0, len(packet)) + packet)
                sent, number = sent + len(piece), number + 1
            time.sleep(0.01)


def free_port():
    """A port at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
