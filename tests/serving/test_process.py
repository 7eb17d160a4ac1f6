"""`cign serve` as a process: options, signals, workers, and what a killed one leaves."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from .client import Client, multipart, received, until


def refused(result, *parts):
    code, out, err = result
    assert (code, out) == (2, "")
    (sentence,) = [line for line in err.splitlines() if line.startswith("cign: ")]
    for part in parts:
        assert part in sentence


def test_what_is_refused_is_one_sentence(cign, trained, tmp_path, monkeypatch):
    monkeypatch.delenv("CIGN_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(cign("serve", trained, "--port", port), "cannot listen", str(port), "--port 0")
    refused(cign("serve", trained, "--teach"), "--teach", "CIGN_TOKEN")
    refused(cign("serve", trained, "--host", "0.0.0.0"), "0.0.0.0", "other machines", "CIGN_TOKEN")
    refused(cign("serve", trained, "--token", "short"), "5 characters", "16")
    refused(cign("serve", trained, "--token", "x" * 20 + "é"), "printable ASCII")
    refused(cign("serve", trained, "--allow-url", "http://h/"), "--allow-url", "'http://h/'")
    refused(cign("serve", tmp_path / "none", "--port", 0), "none", "not found")
    refused(cign("serve", trained, "--out", tmp_path / "x", "--port", 0), "--out", "--teach")
    refused(
        cign("serve", trained, "--teach", "--token", "x" * 20, "--port", 0), "is a run", "--out"
    )
    refused(cign("serve", trained, "--workers", 0), "--workers", "'0'")
    monkeypatch.setenv("CIGN_TOKEN", "short")
    refused(cign("serve", trained, "--port", 0), "5 characters")


@contextmanager
def process(model, *options, folder):
    """`cign serve` with the folder for temporary files."""
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-m", "cign", "serve", str(model), "--port", "0", *options]
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        address = started.stdout.readline().split()
        assert address, started.stderr.read()
        yield started, Client(int(address[0].rpartition(":")[2]))
    finally:
        started.kill()
        started.wait()
        started.stdout.close()
        started.stderr.close()


@pytest.mark.slow
def test_requests_in_progress_are_answered_before_the_end(trained, clips, tmp_path):
    with process(trained, folder=tmp_path) as (started, client):
        body, kind = multipart(clips[:1])
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        with socket.create_connection(("127.0.0.1", client.port), timeout=60) as sock:
            sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-10])
            until(lambda: "cign_queue 1.0" in client.get("/metrics").body.decode())
            started.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            sock.sendall(body[-10:])
            assert received(sock).startswith(b"HTTP/1.1 200 ")
        assert started.wait(300) == 0
        assert list(tmp_path.glob("cign-serve-*")) == []


@pytest.mark.slow
def test_workers_share_a_port_and_are_replaced(trained, clips, tmp_path):
    options = ("--workers", "2")
    with process(trained, *options, folder=tmp_path) as (started, client):
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(client.predict, clips[:8]))
        assert all(one.status == 200 for one in found)
        text = client.get("/metrics").body.decode()
        assert 'cign_predictions_total{model_version="1"} 8.0' in text  # the sum of both
        children = children_of(started.pid)
        os.kill(children[0], signal.SIGKILL)
        until(lambda: len(set(children_of(started.pid)) - {children[0]}) == 2, 60)
        assert client.predict(clips[0]).status == 200
        started.send_signal(signal.SIGKILL)
        started.wait()
        until(lambda: not answers(client), 60)  # the workers end with their parent
    (left,) = tmp_path.glob("cign-serve-*")
    with process(trained, *options, folder=tmp_path) as (started, client):
        assert not left.exists()
        started.send_signal(signal.SIGINT)
        assert started.wait(300) == 130
    assert list(tmp_path.glob("cign-serve-*")) == []


def children_of(number):
    """Worker processes: children that have loaded the model."""
    text = Path(f"/proc/{number}/task/{number}/children").read_text()
    found = [int(one) for one in text.split()]
    return [one for one in found if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()]


def answers(client):
    try:
        return client.get("/health").status == 200
    except OSError:
        return False
