"""Requests that would harm an unguarded server."""

import io
import json
import re
import socket
import struct
import threading
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from cign.data.media.limits import MediaLimits
from cign.serving import fetching
from cign.serving.errors import HttpError
from cign.serving.fetching import fetch, is_public
from cign.serving.hosts import allowed_host
from cign.serving.protocol import GuardedProtocol
from cign.serving.uploads import Upload, shown_name, suffix_of
from refusals import input_error

from .client import TOKEN, multipart, received, running, until

NPZ = {"Content-Type": "application/x-npz"}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\windows\\system.ini", "system.ini"),
        ("/etc/cron.d/x.mp4", "x.mp4"),
        ("a\x00b\x1b[31m.mp4", "a\\x00b\\x1b[31m.mp4"),
        ("naïve ☃.mp4", "naïve ☃.mp4"),
        ("\u202egpm.exe", "\u202egpm.exe"),
        ("x" * 1000 + ".mp4", "x" * 255),
        ("", "upload"),
        ("..", ".."),
    ],
)
def test_names_of_files_are_only_shown(server, clips, name, shown):
    assert shown_name(name) == shown
    quotable = name.replace("\x00", "")  # http.client sends what it is given; multipart too
    answer = server.predict((quotable, clips[0].read_bytes()))
    assert answer.status == 200
    assert answer.json[0]["label"]
    assert "/" not in answer.json[0]["file"]


def test_a_suffix_never_leaves_the_folder():
    assert suffix_of("a.MP4") == ".mp4"
    for name in ("a./../b", "a.\x00", "a." + "x" * 50, "a.m p", "a.m\nv"):
        assert suffix_of(name) == "", name


def test_class_names_are_checked(model):
    clip = ("a.mp4", b"x")
    with running(model, teach=True, token=TOKEN) as client:
        for name in (
            "..%2F..%2Fetc",
            "a%2Fb",
            "%2e%2e",
            "a%7Cb",
            "a%00b",
            "a%0Ab",
            "%20",
            "x" * 300,
        ):
            answer = client.send(f"/classes/{name}/clips", [clip], field="files")
            assert answer.status in (404, 405, 422), name
            assert answer.json["code"] in ("not-found", "method-not-allowed", "bad-value")
        assert client.get("/classes").json["model_version"] == 1


def png(width_px, height_px):
    """An image of one colour: 1,000 times smaller than its pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + width_px)) for _ in range(height_px))
    head = struct.pack(">IIBBBBB", width_px, height_px, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", rows + packer.flush())
        + chunk(b"IEND", b"")
    )


def avi(width_px, height_px, image):
    """A film of one PNG, shown for a second."""

    def chunk(kind, data):
        return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)

    def listed(kind, data):
        return chunk(b"LIST", kind + data)

    main = struct.pack("<14I", 1000000, 0, 0, 0, 1, 0, 1, 0, width_px, height_px, 0, 0, 0, 0)
    stream = b"vidsMPNG" + struct.pack("<12I", 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0)
    picture = struct.pack("<IiiHH4sIiiII", 40, width_px, height_px, 1, 24, b"MPNG", 0, 0, 0, 0, 0)
    track = listed(b"strl", chunk(b"strh", stream) + chunk(b"strf", picture))
    body = listed(b"hdrl", chunk(b"avih", main) + track) + listed(b"movi", chunk(b"00dc", image))
    return chunk(b"RIFF", b"AVI " + body)


def test_frames_of_many_pixels_are_not_decoded(server):
    """Whether the container states the size, or only the frame does."""
    small = avi(64, 64, png(64, 64))
    assert server.predict(("small.avi", small)).status == 200
    bomb = png(9000, 9000)
    assert len(bomb) < 500_000
    before = memory_mb()
    for one in (avi(9000, 9000, bomb), avi(64, 64, bomb)):
        server.predict(("bomb.avi", one)).refused(422, server_code(server, one))
    assert memory_mb() - before < 60  # a frame has 81 MB


def server_code(server, body):
    code = server.predict(("bomb.avi", body)).json["code"]
    assert code in ("file-unreadable", "damaged")
    return code


def memory_mb():
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def test_long_recordings_give_a_bounded_number_of_windows(server, monkeypatch):
    monkeypatch.setattr("cign.serving.answering.MAX_WINDOWS", 20)
    rate = 8000
    sound = np.random.default_rng(0).integers(-9000, 9000, 10 * rate).astype("<i2").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(sound), b"WAVE", b"fmt ", 16, 1, 1,
                       rate, 2 * rate, 2, 16, b"data", len(sound))  # fmt: skip
    answer = server.predict(("long.wav", head + sound), query="?every=0.1")
    answer.refused(422, "bad-value", "every=0.1", "20")
    limits = MediaLimits(max_pixels=100, max_duration_s=9.0)
    monkeypatch.setattr("cign.serving.answering.MEDIA_LIMITS", limits)
    answer = server.predict(("long.wav", head + sound))
    answer.refused(422, "file-unreadable", "it is 10 s long", "at most 9 s")


def test_arrays_have_the_largest_duration_of_files(server):
    """At 1 Hz, 100 kB would be resampled to gigabytes."""
    arrays = io.BytesIO()
    np.savez(arrays, audio=np.zeros(50_000, np.int16), rate_hz=1.0)
    answer = server.call("POST", "/predict", arrays.getvalue(), NPZ)
    answer.refused(422, "file-unreadable", "it is 50,000 s long", "at most 43,200 s")


def zipped(method=zipfile.ZIP_DEFLATED, **members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def npy(header, data=b""):
    text = header.encode() + b" " * ((54 - len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def damaged_lzma():
    """An archive with a member whose compressed data are damaged."""
    body = bytearray(zipped(zipfile.ZIP_LZMA, **{"audio.npy": npy(HUGE, bytes(1000))}))
    begin = body.index(b"audio.npy") + len("audio.npy") + 9  # after the header of the stream
    body[begin : begin + 8] = b"\xff" * 8
    return bytes(body)


HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (9000000000000,), }"


@pytest.mark.parametrize(
    "body",
    [
        zipped(**{"audio.npy": bytes(50 * 2**20)}),  # 50 MB of zeros in 50 kB
        zipped(**{"audio.npy": npy(HUGE)}),
        zipped(**{"audio.npy": npy(HUGE.replace("<f8", "|O"), b"cos\nsystem\n(S'true'\ntR.")}),
        zipped(**{"audio.npy": b"\x93NUMPY\x09\x00"}),
        zipped(**{"../../audio.npy": npy(HUGE)}),
        zipped(**{"audio.npy": npy("{'descr': '<f8', 'shape': (-1,), 'fortran_order': False}")}),
        zipped(**{"audio.npy": npy("__import__('os').abort()")}),
        zipped(**{"audio.npy": npy("{1: 2, 'a': 3}")}),
        zipped(**{"audio.npy": npy(HUGE.replace("9000000000000", "True"), bytes(8))}),
        zipped(**{"audio.npy": npy(HUGE.replace("'<f8'", "()"), bytes(8))}),
        zipped(**{"audio.npy": npy("[" * 3000)}),
        damaged_lzma(),
        zipped(),
        b"PK\x03\x04 no archive",
        b"",
    ],
)
def test_archives_are_checked_before_they_are_unpacked(server, body):
    answer = server.call("POST", "/predict", body, NPZ)
    answer.refused(422, "bad-clip")
    assert server.get("/health").json["ready"]


def request(path="/predict", length=None, kind="multipart/form-data; boundary=x", more=b""):
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    if length is not None:
        head += f"Content-Length: {length}\r\n"
    return head.encode() + more + b"\r\n"


def code_in(answer):
    return json.loads(answer.partition(b"\r\n\r\n")[2])["code"]


def test_a_body_that_is_too_large_is_refused_at_once(server):
    answer = server.raw(request(length=10**12))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert code_in(answer) == "too-large"
    assert b"connection: close" in answer.lower()


def test_a_body_without_a_length_is_counted(server):
    """Chunks are refused when they exceed the limit, and the client can read why."""
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
    piece = bytes(2**18)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as sock:
        sock.sendall(request(more=b"Transfer-Encoding: chunked\r\n"))
        sock.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        for _ in range(24):  # 6 MB; 4 MB are accepted
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")
        answer = received(sock)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("length", ["1e3", "-5", "9" * 60, "5, 6", "0x10"])
def test_a_length_that_lies_is_refused(server, length):
    answer = server.raw(request(length=length) + b"hello")
    assert re.match(rb"HTTP/1.1 4(00|13) ", answer)
    assert code_in(answer) in ("bad-request", "too-large")


def test_two_lengths_or_a_length_with_chunks_are_refused(server):
    """They could smuggle a second request through a proxy."""
    smuggled = b"0\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for more in (b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked, identity\r\n"):
        answer = server.raw(request(length=5, more=more) + smuggled)
        assert len(re.findall(rb"^HTTP/1.1 \d", answer, re.M)) == 1
        assert b'"live"' not in answer


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--x",
        b"--x--\r\n",
        b"no boundary at all",
        b"--x\r\n\r\nno header\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nno file\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="other"; filename="a"\r\n\r\n1\r\n--x--\r\n',
        b"--x\r\nContent-Disposition: " + b"a" * 10**5 + b"\r\n\r\n1\r\n--x--\r\n",
        b"--x\r\n" + b"A: b\r\n" * 1000 + b"\r\n1\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n1\r\n' * 9,
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 2000 + b"--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\ncut off',
    ],
)
def test_malformed_forms(server, body):
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = server.call("POST", "/predict", body, kind)
    assert answer.status in (400, 422)
    assert answer.json["code"] in ("bad-request", "file-unreadable")


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=" + "b" * 5000,
        "multipart/form-data; boundary=x; charset=nonsense",
        "text/plain",
        "",
    ],
)
def test_malformed_content_types(server, kind):
    answer = server.call("POST", "/predict", b"--y--", {"Content-Type": kind})
    assert answer.status in (400, 415)
    assert answer.json["code"] in ("bad-request", "unsupported-media-type")


@pytest.mark.parametrize(
    "body", ["", "[", "[]", "1", '{"url": 1}', '{"url": "a", "b": 1}', "[" * 9999]
)
def test_malformed_json(server, body):
    server.call("POST", "/predict", body, JSON).refused(400, "bad-request", "url")


def test_long_json(server):
    server.call("POST", "/predict", '{"url": "' + "a" * 10**6, JSON).refused(413, "too-large")


def test_headers_without_end(server):
    for data in (
        b"GET / HTTP/1.1\r\nA: " + b"a" * 10**6,
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10**5,
    ):
        answer = server.raw(data)
        assert answer == b"" or re.match(rb"HTTP/1.1 4(00|31) ", answer)
    assert server.get("/health").status == 200


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01", b"GET / FTP/1.1\r\n\r\n", b"\r\n\r\nx\r\n\r\n"]
)
def test_what_is_no_http(server, data):
    answer = server.raw(data + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert code_in(answer) == "bad-request"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://h/a", "gopher://h/", "//h/a", "h/a", ""]
)
def test_other_schemes(url, tmp_path):
    refused_url(url, "h", tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "http://other/a.mp4",
        "http://h.evil.org/a.mp4",
        "http://h@other/a.mp4",
        "http://user:pass@h/a.mp4",
        "http://h:81/a.mp4",
        "http://h\\@other/",
        "http://h /a",
        "http://h\r\nX: y/a",
        "http://[::1/a",
        "http://h:99999/a",
        "http://ⓗ/a",
    ],
)
def test_urls_that_look_like_an_allowed_host(url, tmp_path):
    refused_url(url, "h", tmp_path)


@pytest.mark.parametrize("host", ["localhost", "internal.example"])
@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"]
)
def test_a_name_that_resolves_to_a_private_address(host, address, tmp_path, monkeypatch):
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = [(kind, socket.SOCK_STREAM, 6, "", (address, 80))]
    monkeypatch.setattr(fetching.socket, "getaddrinfo", lambda *given, **how: found)
    monkeypatch.setattr(fetching.socket, "create_connection", None)  # never called
    said = refused_url(f"http://{host}/a.mp4", host, tmp_path)
    assert address not in said  # it would describe the internal network


def refused_url(url, allowed, folder):
    with pytest.raises(HttpError) as caught:
        fetch(url, [allowed_host(allowed)], folder, max_bytes=100, timeout_s=5)
    assert (caught.value.status, caught.value.code) == (403, "url-refused")
    assert list(folder.iterdir()) == []
    return caught.value.sentence


def test_addresses_that_are_not_public():
    for text in (
        *("0.0.0.0", "127.1.2.3", "10.1.1.1", "172.16.0.1", "192.168.0.1", "169.254.169.254"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1%eth0", "fc00::1"),
        *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "ff02::1", "text"),
    ):
        assert not is_public(text), text
    for text in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"):
        assert is_public(text), text


def test_a_fetched_file_has_a_largest_size_and_a_time(tmp_path):
    def serve(pieces, pause_s):
        with listener.accept()[0] as sock:
            sock.recv(65536)
            for piece in pieces:
                try:
                    sock.sendall(piece)
                except OSError:
                    return
                time.sleep(pause_s)

    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
    cases = (
        ([head % 200, bytes(200)], 0, 413, "too-large"),
        ([b"HTTP/1.1 200 OK\r\n\r\n", bytes(200)], 0, 413, "too-large"),
        ([head % 90, *[b"a"] * 90], 0.1, 502, "url-failed"),
        ([head % 90, bytes(50)], 0, 502, "url-failed"),
    )
    for pieces, pause_s, status, code in cases:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(pieces, pause_s))
            thread.start()
            host = f"127.0.0.1:{listener.getsockname()[1]}"
            with pytest.raises(HttpError) as caught:
                fetch(
                    f"http://{host}/a", [allowed_host(host)], tmp_path, max_bytes=100, timeout_s=1
                )
            thread.join()
        assert (caught.value.status, caught.value.code) == (status, code)
        assert list(tmp_path.iterdir()) == []


def test_the_next_address_is_tried_within_the_time(tmp_path, monkeypatch):
    """An address that does not answer leaves the others their share of the time."""

    def connect(address, timeout):
        tried.append((address[0], timeout))
        if address[0] == "8.8.8.8":
            raise TimeoutError
        sock = socket.socket()
        sock.connect(listener.getsockname())
        return sock

    def serve():
        with listener.accept()[0] as sock:
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    tried = []
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in ("8.8.8.8", "8.8.4.4")
    ]
    monkeypatch.setattr(fetching.socket, "getaddrinfo", lambda *given, **how: found)
    monkeypatch.setattr(fetching.socket, "create_connection", connect)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        upload = fetch("http://h/a", [allowed_host("h")], tmp_path, max_bytes=100, timeout_s=8)
        thread.join()
    assert upload.path.read_bytes() == b"ok"
    (first, first_s), (second, second_s) = tried
    assert (first, second) == ("8.8.8.8", "8.8.4.4")
    assert first_s <= 4 < second_s <= 8
    found.pop()
    with pytest.raises(HttpError) as caught:
        fetch("http://h/a", [allowed_host("h")], tmp_path, max_bytes=100, timeout_s=8)
    assert (caught.value.status, caught.value.code) == (502, "url-failed")


def test_a_file_that_arrives_after_the_timeout_is_removed(trained, monkeypatch):
    """The thread that fetches cannot be stopped; it has only the time that is left."""
    left_s, paths, is_late = [], [], threading.Event()

    def late(url, allowed, folder, *, max_bytes, timeout_s):
        left_s.append(timeout_s)
        assert is_late.wait(30)
        paths.append(folder / "fetched.mp4")
        paths[0].write_bytes(b"x")
        return Upload("fetched.mp4", paths[0])

    monkeypatch.setattr("cign.serving.routes.fetch", late)
    body = b'{"url": "http://h/a"}'
    with running(trained, timeout_s=1.5) as client:
        with socket.create_connection(("127.0.0.1", client.port), timeout=30) as sock:
            sock.sendall(request(length=len(body), kind="application/json"))
            time.sleep(0.5)
            sock.sendall(body)
            answer = sock.recv(65536)
        assert answer.startswith(b"HTTP/1.1 504 ")
        is_late.set()
        until(lambda: paths and not paths[0].exists())
    assert left_s[0] < 1.1


def test_what_is_no_host():
    for text in ("", "*", "*.org", "http://h", "h/a", "u@h", "h:x", "h:", "a b"):
        with input_error("bad-value", "--allow-url"):
            allowed_host(text)


@pytest.fixture
def slow(trained):
    """A server that is quick to lose patience, with room for two requests."""
    with running(trained, timeout_s=3.0, max_queue=2) as client:
        yield client


def test_slow_headers(slow):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", slow.port), timeout=30) as silent:
        with socket.create_connection(("127.0.0.1", slow.port), timeout=30) as dripping:
            for byte in (b"G", b"E", b"T"):
                dripping.sendall(byte)
                time.sleep(0.1)
            answer = received(dripping)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert received(silent).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 20


def test_slow_bodies_hold_a_place_for_a_limited_time(slow, clips):
    """Others are told when to come again; afterwards they are served."""
    held = [socket.create_connection(("127.0.0.1", slow.port), timeout=30) for _ in range(2)]
    for sock in held:
        sock.sendall(request(length=1000) + b"--x\r\n")
    until(lambda: queue_of(slow) == 2)
    answer = slow.predict(clips[0])
    answer.refused(503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert slow.get("/health").status == 200
    for sock in held:
        assert received(sock).startswith(b"HTTP/1.1 408 ")
        sock.close()
    until(lambda: queue_of(slow) == 0)


def queue_of(client):
    return float(re.search(r"^cign_queue (\S+)", client.get("/metrics").body.decode(), re.M)[1])


def test_many_connections(server, monkeypatch):
    monkeypatch.setattr(GuardedProtocol, "max_connections", 20)
    held = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(40)]
    try:
        answers = [received(sock) for sock in held[-5:]]
        assert all(one.startswith(b"HTTP/1.1 503 ") for one in answers)
        assert all(b"retry-after: 1" in one for one in answers)
    finally:
        for sock in held:
            sock.close()
    until(lambda: server.call("GET", "/health").status == 200)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer é"],
)
def test_wrong_and_absent_tokens(guarded, clips, header):
    headers = {} if header is None else {"Authorization": header}
    for method, path in (("GET", "/classes"), ("POST", "/predict"), ("GET", "/docs")):
        answer = guarded.call(method, path, None, headers, token=False)
        answer.refused(401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert guarded.get("/health", token=False).status == 200
    assert guarded.get("/classes").status == 200


@pytest.fixture(scope="module")
def guarded(trained):
    with running(trained, token=TOKEN) as client:
        yield client


def test_without_a_token_only_this_machine_is_answered(server):
    """A page of another site whose name resolves to 127.0.0.1 sends its own name as host."""
    for host in ("evil.org", "127.0.0.1.evil.org", "localhost.evil.org:80", ""):
        server.get("/classes", headers={"Host": host}).refused(403, "forbidden-host")
    for host in ("localhost", "127.0.0.1:1", "[::1]:8000"):
        assert server.get("/classes", headers={"Host": host}).status == 200


def test_a_form_of_another_site_cannot_name_a_url(server):
    """A browser sends JSON to another site only after asking; other types are not read as JSON."""
    body, _ = multipart([], fields=[("url", "http://h/a")])
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        answer = server.call("POST", "/predict", body, {"Content-Type": kind})
        answer.refused(415, "unsupported-media-type")


def test_nothing_is_lost_after_all_this(server, clips):
    assert server.predict(clips[0]).status == 200
    assert server.get("/health").json["ready"]
