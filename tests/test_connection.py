"""Hub names without a network: refused within seconds, read from the cache where they are in it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from huggingface_hub import constants

from cign.backbones.registry import load_backbone
from cign.saved_model.hub import local_place
from cign.utils import connection
from cign.utils.connection import hub_trouble
from networks import make_network

NAMES = ["nobody/vit+nobody/ast", "nobody/pe-av", "resnet18", "resnet18+nobody/ast"]


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path):
    """Sets the hub's address; nothing is remembered, and the cache is empty."""
    connection._asked.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    yield lambda address: monkeypatch.setattr(constants, "ENDPOINT", address)
    connection._asked.cache_clear()


@pytest.fixture
def silent():
    """A machine that takes connections and never answers, as behind some firewalls."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def timed(cign, *arguments):
    """Code, error and seconds of a command; the faster of two, since others use the machine."""
    results = []
    for _ in range(2):
        connection._asked.cache_clear()
        started = time.monotonic()
        code, out, error = cign(*arguments)
        results.append((time.monotonic() - started, code, out, error))
    took_s, code, out, error = min(results)
    assert (code, out) == (2, "")
    (sentence,) = [line for line in error.splitlines() if not line.startswith("device: ")]
    assert "cannot be reached" in sentence
    return took_s, sentence


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("address", ["https://hub.invalid", "http://127.0.0.1:9", "silent"])
def test_a_backbone_is_refused_within_three_seconds(name, address, hub, silent, cign, tmp_path):
    hub(silent if address == "silent" else address)
    (tmp_path / "zoo" / "a").mkdir(parents=True)
    prepare = ("prepare", tmp_path / "zoo", tmp_path / "store", "--backbone", name)
    took_s, sentence = timed(cign, *prepare)
    assert took_s < 3
    assert "give a local folder with its config.json and model.safetensors" in sentence
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("address", ["https://hub.invalid", "silent"])
def test_a_model_is_refused_within_three_seconds(address, hub, silent, cign, tmp_path):
    hub(silent if address == "silent" else address)
    took_s, sentence = timed(cign, "predict", "nobody/nothing", tmp_path)
    assert took_s < 3
    assert "name its folder" in sentence


def test_a_hub_that_answers_is_asked_whatever_it_answers(hub):
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub(f"http://127.0.0.1:{server.server_port}")
        assert hub_trouble() == ""
        server.shutdown()


def test_offline_nothing_is_asked(hub, monkeypatch):
    hub("https://hub.invalid")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub_trouble() == ""


@pytest.mark.parametrize(
    ("name", "asks"),
    [("small", False), ("none", False), ("a/b", True), ("a/b+c/d@4x4", True), ("resnet18", False)],
)
def test_only_names_of_the_hub_are_asked_for_ahead(hub, name, asks, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    hub("https://hub.invalid")
    connection.ask_ahead(name)
    assert connection._asked.cache_info().currsize == asks


def test_a_slow_connection_may_be_given_more_time(hub, silent, monkeypatch):
    hub(silent)
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.3")
    started = time.monotonic()
    assert re.search("no answer within 0.3 s|timed out", hub_trouble())
    assert 0.2 < time.monotonic() - started < 1.5


def in_cache(folder, cache, name):
    """Lay a network into a cache as the hub's client does."""
    place = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / ("0" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)


def test_what_is_in_the_cache_is_read_without_a_network(hub, tmp_path):
    hub("https://hub.invalid")
    for kind in ("vit", "ast"):
        in_cache(make_network(tmp_path, kind), tmp_path / "cache", f"somebody/{kind}")
    started = time.monotonic()
    backbone = load_backbone("somebody/vit+somebody/ast")
    assert time.monotonic() - started < 6
    same = load_backbone(f"{tmp_path / 'vit'}+{tmp_path / 'ast'}")
    assert (backbone.spec, backbone.notes) == (same.spec, same.notes)
    weights = same.state_dict()
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, weights.pop(name))
    assert not weights
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.json").write_text(json.dumps({}))
    in_cache(model, tmp_path / "cache", "somebody/model")
    assert (local_place("somebody/model") / "model.json").is_file()
