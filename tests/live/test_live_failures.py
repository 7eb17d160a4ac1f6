"""What is wrong with a source is said in words, within the time limit; nothing hangs."""

import time

import pytest

from cign.data.media.addresses import is_address, parse_address
from cign.data.media.container import MediaError
from cign.data.media.download import downloaded
from refusals import input_error

from .sources import Raw, free_port, notes, read, windows

OK = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\n"


def failure(name, **options):
    begun = time.monotonic()
    items = read(name, **options)
    assert items[-1].is_end
    assert not windows(items)
    assert items[-1].code == "stream-failed"
    return items[-1].error, time.monotonic() - begun


def test_refused_connection():
    for scheme in ("http", "rtsp", "tcp"):
        error, _ = failure(f"{scheme}://127.0.0.1:{free_port()}/x")
        assert "refused" in error


def test_unknown_host():
    error, _ = failure("http://no-such-host.invalid/x.ts")
    assert "host no-such-host.invalid is unknown" in error


@pytest.mark.parametrize(
    ("status", "words"), [(404, "404"), (401, "password"), (403, "password"), (500, "refuses")]
)
def test_answers_of_servers(status, words):
    server = Raw(lambda s: s.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status))
    assert words in failure(server.url)[0]


def endless_headers(socket):
    socket.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        socket.sendall(b"X: y\r\n" * 100)


def endless_line(socket):
    socket.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        socket.sendall(b"y" * 1000)


def silent(socket):
    time.sleep(20)


def silent_after_headers(socket):
    socket.sendall(OK + b"\r\n")
    time.sleep(20)


@pytest.mark.parametrize("answer", [endless_headers, endless_line, silent, silent_after_headers])
def test_servers_that_never_send_media(answer):
    error, seconds = failure(Raw(answer).url)
    assert "no data for 1 s" in error
    assert seconds < 6


def test_a_page_is_no_stream():
    server = Raw(lambda s: s.sendall(OK + b"Content-Length: 600\r\n\r\n" + b"<html>" * 100))
    assert "no media that can be decoded" in failure(server.url)[0]


def test_a_stream_that_stalls_is_lost_after_the_time_limit(media):
    data = (media / "one.ts").read_bytes()

    def answer(socket):
        socket.sendall(OK + b"\r\n" + data[: len(data) // 2 // 188 * 188])
        time.sleep(20)

    begun = time.monotonic()
    items = read(Raw(answer).url, reconnect_s=0)
    assert time.monotonic() - begun < 10
    assert windows(items)
    assert items[-1].error == "no data for 1 s"
    assert "trying again" in notes(items)[0]


def test_devices_that_do_not_exist():
    error, _ = failure("device:v4l2:/dev/video99")
    assert "the device /dev/video99 does not open: No such file or directory" in error
    error, _ = failure("device:dshow:video=Camera")
    assert "no input devices of format 'dshow'; it has" in error


def test_mp4_cannot_be_followed_before_it_is_complete(media, tmp_path):
    data = (media / "one.mp4").read_bytes()
    growing = tmp_path / "growing.mp4"
    growing.write_bytes(data[: len(data) // 2])
    error, _ = failure(growing, follow=True)
    assert "fragmented MP4" in error


def test_addresses():
    assert is_address("rtsp://host/x")
    assert is_address("device:alsa:default")
    assert not is_address("clips/a.mp4")
    one = parse_address("rtsp://user:secret@host:554/x?y=1")
    assert one.shown == "rtsp://user:***@host:554/x?y=1"
    assert (one.scheme, one.host) == ("rtsp", "host")
    pair = parse_address("device:v4l2:/dev/video0+alsa:hw:1,0").devices
    assert [(d.format, d.name) for d in pair] == [("v4l2", "/dev/video0"), ("alsa", "hw:1,0")]
    for text, words in (
        ("ftp://host/x", "scheme 'ftp'"),
        ("file:///x.mp4", "path of a file"),
        ("http:///x", "names no host"),
        ("http://host:99999/x", "not a valid URL"),
        ("device:camera", "device:FORMAT:NAME"),
        ("device:webcam:0", "device:v4l2:/dev/video0"),
    ):
        with input_error("bad-value", words):
            parse_address(text)


def test_a_file_named_like_an_address_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "device:alsa:x").touch()
    assert not is_address("device:alsa:x")


def test_a_download_goes_on_where_it_broke_off():
    content, asked = bytes(range(256)) * 100, []

    def answer(socket):
        asked.append(1)
        if len(asked) == 1:
            socket.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 25600\r\n\r\n" + content[:9000])
        else:
            socket.sendall(
                b"HTTP/1.1 206 Partial\r\nContent-Length: 16600\r\n\r\n" + content[9000:]
            )

    address = parse_address(Raw(answer).url)
    with downloaded(address, timeout_s=5) as path:
        assert path.read_bytes() == content
    assert not path.exists()
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404, Not Found"),
        (b"HTTP/1.1 200 OK\r\n\r\nx", "it is a stream, not a file"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "broke off 3 times"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", "headers"),
        (b"nonsense\r\n\r\n", "cannot be fetched"),
    ],
)
def test_downloads_that_fail(head, words):
    server = Raw(lambda socket: socket.sendall(head))
    with pytest.raises(MediaError) as caught, downloaded(parse_address(server.url), timeout_s=2):
        pass
    assert words in caught.value.detail
