"""Where recordings of tasks are found, and from where they may be downloaded."""

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cign.integrations.label_studio.download import Downloads, check_server
from cign.integrations.label_studio.media import MediaFiles, reference_of
from cign.serving.hosts import allowed_host
from refusals import input_error

pytest.importorskip("httpx")


@contextmanager
def server(answers):
    """An HTTP server: path -> status, headers and body; gives its address and the requests."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer()

        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.answer()

        def answer(self):
            seen.append((self.path, self.headers.get("authorization")))
            status, headers, body = answers.get(self.path.partition("?")[0], (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}", seen
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def downloads(address=None, hosts=(), key=None, most=1000):
    allowed = [allowed_host(host, "--allow-host") for host in hosts]
    return Downloads(server=address, hosts=allowed, max_bytes=most, key=key)


def files(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.wav", "a.wav"),
        ("/data/local-files/?d=set/b.wav", "set/b.wav"),
        ("/data/local-files/?d=root/set/b.wav", "set/b.wav"),
        ("/data/local-files/?d=set%2Fc%20d.wav", "set/c d.wav"),
        ("/data/upload/3/1a2b3c4d-a.wav", "a.wav"),
        ("/data/upload/3/0123abcd-own.wav", "0123abcd-own.wav"),
        ("upload/3/1a2b3c4d-a.wav", "a.wav"),
        ("http://localhost:8080/data/local-files/?d=set/b.wav", "set/b.wav"),
        ("https://media.example.org/set/b.wav?sig=1", "set/b.wav"),
        ("/home/somebody/set/b.wav", "set/b.wav"),
        ("C:\\set\\b.wav", "set/b.wav"),
    ],
)
def test_files_below_the_media_folders(tmp_path, text, name):
    files(tmp_path / "media", "a.wav", "set/b.wav", "set/c d.wav", "0123abcd-own.wav")
    files(tmp_path, "a.wav")
    with MediaFiles([tmp_path / "empty", tmp_path / "media"]).opened(text) as path:
        assert path == tmp_path / "media" / name


@pytest.mark.parametrize(
    "text",
    [
        "../secret.wav",
        "set/../../secret.wav",
        "/data/local-files/?d=../secret.wav",
        "/data/local-files/?d=%2e%2e%2fsecret.wav",
        "/data/upload/1/../../secret.wav",
        "/data/upload/1/%2e%2e/secret.wav",
        "..\\secret.wav",
        "http://localhost/%2e%2e/secret.wav",
    ],
)
def test_paths_that_leave_the_media_folders_are_refused(tmp_path, text):
    files(tmp_path, "secret.wav", "media/a.wav")
    finder = MediaFiles([tmp_path / "media"], downloads("http://localhost:1", ["localhost"]))
    with input_error("bad-value", "leaves the media folders"), finder.opened(text):
        pass


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("gone.wav", "file-missing", "--media"),
        ("/data/upload/1/gone.wav", "file-missing", "--label-studio"),
        ("https://example.org/gone.wav", "file-missing", "--allow-host example.org"),
        ("s3://bucket/gone.wav", "unsupported", "s3"),
        ("file:///etc/passwd", "unsupported", "file"),
        ("data:audio/wav;base64,AAAA", "unsupported", "data"),
        ("/data/local-files/?x=1", "bad-list", "?d="),
        ("/", "bad-list", "name of a file"),
        ("http://[x/a.wav", "bad-value", "'http://[x/a.wav'"),
        ("http://a\u2100b/a.wav", "bad-value", "NFKC"),
    ],
)
def test_what_cannot_be_found_is_one_sentence(tmp_path, text, code, part):
    with input_error(code, part), MediaFiles([tmp_path]).opened(text):
        pass


def test_the_field_of_a_task():
    assert reference_of({"audio": " a.wav "}, "audio") == "a.wav"
    with input_error("bad-list", "'video'", "audio, text"):
        reference_of({"audio": "a.wav", "text": "x"}, "video")
    for value in (None, 3, "", ["a.wav"], "a" * 5000):
        with input_error("bad-list", "one recording"):
            reference_of({"audio": value}, "audio")


def test_uploads_are_downloaded_with_the_key_and_removed(tmp_path):
    with server({"/data/upload/1/x-a.wav": (200, {}, b"sound")}) as (address, seen):
        finder = MediaFiles([tmp_path], downloads(address, key="secret"))
        with finder.opened("/data/upload/1/x-a.wav") as path:
            assert path.read_bytes() == b"sound"
            assert path.suffix == ".wav"
        assert not path.exists()
        assert seen == [("/data/upload/1/x-a.wav", "Token secret")]


def test_downloads_for_learning_remain_and_are_used_again(tmp_path):
    with server({"/data/upload/1/x-a.wav": (200, {}, b"sound")}) as (address, seen):
        finder = MediaFiles([], downloads(address), tmp_path / "kept")
        path = finder.kept("/data/upload/1/x-a.wav")
        assert path.parent == tmp_path / "kept"
        assert finder.kept("/data/upload/1/x-a.wav") == path
        with finder.opened("/data/upload/1/x-a.wav") as same:
            assert same == path
        assert len(seen) == 1


def test_the_key_is_sent_to_label_studio_alone(tmp_path):
    body = (200, {}, b"sound")
    with server({"/a.wav": body}) as (other, others):
        here = {"/data/upload/1/a.wav": (302, {"location": f"{other}/a.wav"}, b"")}
        with server(here) as (address, seen):
            host = other.removeprefix("http://")
            allowed = downloads(address, [host], key="secret")
            allowed.fetch("/data/upload/1/a.wav", tmp_path / "a.wav")
            assert [key for _, key in seen] == ["Token secret"]
            assert [key for _, key in others] == [None]
            with input_error("unsupported", "not allowed", "--allow-host"):
                downloads(address).fetch("/data/upload/1/a.wav", tmp_path / "b.wav")
            assert len(others) == 1


def test_a_personal_access_token_is_exchanged(tmp_path):
    content = base64.urlsafe_b64encode(json.dumps({"token_type": "refresh"}).encode()).decode()
    key = f"e30.{content.rstrip('=')}.c2ln"
    answers = {
        "/api/token/refresh": (200, {}, b'{"access": "short"}'),
        "/data/upload/1/a.wav": (200, {}, b"sound"),
    }
    with server(answers) as (address, seen):
        one = downloads(address, key=key)
        for _ in range(2):
            one.fetch("/data/upload/1/a.wav", tmp_path / "a.wav")
        assert [key for _, key in seen] == [None, "Bearer short", "Bearer short"]
        answers["/api/token/refresh"] = (200, {}, b"<html>")
        with input_error("file-missing", "LABEL_STUDIO_API_KEY"):
            downloads(address, key=key).fetch("/data/upload/1/a.wav", tmp_path / "b.wav")


def test_failed_downloads_are_one_sentence_and_leave_no_file(tmp_path):
    answers = {
        "/data/upload/1/large": (200, {}, b"x" * 1001),
        "/data/upload/1/closed": (403, {}, b""),
        "/data/upload/1/loop": (302, {"location": "/data/upload/1/loop"}, b""),
        "/data/upload/1/astray": (302, {"location": "http://[x/a?key=secret"}, b""),
    }
    with server(answers) as (address, _):
        one = downloads(address)
        for name, code, parts in (
            ("large", "bad-value", ("1000 bytes", "--max-download")),
            ("closed", "file-missing", ("403", "LABEL_STUDIO_API_KEY")),
            ("loop", "file-missing", ("redirects too often",)),
            ("gone", "file-missing", ("404",)),
            ("large?\ud800", "file-missing", ("cannot be downloaded",)),
            ("astray", "bad-value", ("'http://[x/a'",)),
        ):
            with input_error(code, *parts):
                one.fetch(f"/data/upload/1/{name}", tmp_path / "target")
    with input_error("file-missing", "cannot be downloaded"):
        one.fetch("/data/upload/1/large", tmp_path / "target")
    assert not list(tmp_path.iterdir())


def test_hosts_are_allowed_exactly():
    one = downloads(
        "http://ls.example.org:8080", ["media.example.org", "other.org:8443", "[::1]:9000"]
    )
    allowed = (
        "http://media.example.org/a",
        "https://MEDIA.example.org/a",
        "https://other.org:8443/a",
        "http://[::1]:9000/a",
        "http://ls.example.org:8080/a",
        "/data/upload/1/a",
    )
    refused = (
        "http://media.example.org:8080/a",
        "http://media.example.org.evil.org/a",
        "http://evil.org/media.example.org",
        "http://media.example.org@evil.org/a",
        "https://other.org/a",
        "http://ls.example.org/a",
        "//evil.org/a",
        "ftp://media.example.org/a",
        "http://media.example.org:port/a",
        "",
    )
    assert [url for url in allowed if not one.allows(url)] == []
    assert [url for url in refused if one.allows(url)] == []
    for text in ("", "http://a.org", "a.org/b", "a b", "user@a.org"):
        with input_error("bad-value", "--allow-host"):
            allowed_host(text, "--allow-host")
    for text in ("", "localhost:8080", "ftp://a.org", "http://u:p@a.org", "http://[x"):
        with input_error("bad-value", "--label-studio"):
            check_server(text)
    assert check_server("https://ls.example.org/studio/") == "https://ls.example.org/studio"
