"""`cign predict` on streams, files of web servers, growing files and watched folders."""

import csv
import functools
import http.server
import io
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmark_scripts import script
from cign.data.media.live.source import LiveOptions
from cign.inference.segment import COLUMNS
from cign.learner import Learner
from live.sources import free_port

from .adding import refused


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def web(world):
    """URL of a web server for the test clips."""
    handler = functools.partial(Quiet, directory=str(world.clips / "test"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module")
def live_server():
    return script("live_server")


@pytest.fixture(scope="module")
def stream(world, live_server, tmp_path_factory):
    """Twenty seconds: the test clips of a second each, joined."""
    clips = [Path(one) for one in world.test_clips()]
    file = tmp_path_factory.mktemp("stream") / "stream.ts"
    live_server.join_clips((clips * 2)[:20], file, size=64)
    return file


def alike(live, file):
    """The same prediction of a window; the batches may differ."""
    assert (live["start_s"], live["end_s"], live["label"]) == (
        file["start_s"],
        file["end_s"],
        file["label"],
    )
    for modality, classes in file["modalities"].items():
        for one, other in zip(live["modalities"][modality], classes, strict=True):
            assert one["label"] == other["label"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-4)


def assert_nearly(one, other):
    """The same values; probabilities may differ by rounding, since batches depend on time."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert_nearly(value, other[name])
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-5)
    else:
        assert one == other


def test_twenty_seconds_at_five_times_the_speed(cign, world, stream, live_server):
    server = live_server.LiveServer(stream.read_bytes(), speed=5)
    code, out, err = cign("predict", world.run, server.url, "--every", 1, "--jsonl")
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    file = json.loads(cign("predict", world.run, stream, "--every", 1, "--json")[1])
    by_start = {one["start_s"]: one for one in file}
    assert sum(one["num_dropped"] for one in rows) + len(rows) >= len(file) - 1
    assert len(rows) >= 10
    for one in rows:
        assert one["error"] is None
        assert one["file"] == server.url
        assert one["latency_s"] >= 0
        assert one["received_at"].endswith("+00:00")
        if one["end_s"] < 17:
            alike(one, by_start[one["start_s"]])
    assert f"{len(rows)} windows" in err
    assert "latency" in err


def test_a_file_of_a_web_server_is_predicted_like_the_file(cign, world, web):
    clip = Path(world.test_clips()[0])
    url = f"{web}/{clip.relative_to(world.clips / 'test')}"
    code, out, err = cign("predict", world.run, url, str(clip), "--json")
    assert code == 0, err
    remote, local = json.loads(out)
    assert remote["file"] == url
    assert_nearly({**remote, "file": ""}, {**local, "file": ""})
    assert Learner.load(world.run).predict(url).one().label == local["label"]


def test_a_missing_file_of_a_web_server(cign, world, web):
    code, out, err = cign("predict", world.run, f"{web}/none.mp4", "--json")
    assert code == 2
    assert "404" in json.loads(out)[0]["error"]
    assert "no source could be read" in err


def test_table_csv_and_segments_of_a_growing_file(cign, world, stream):
    words = ("predict", world.run, stream, "--follow", "--timeout", 0.2, "--every", 2)
    code, out, err = cign(*words)
    assert code == 0, err
    heading, _, *lines = out.splitlines()
    assert heading.split() == [*("time", "label", "prob.", "unknown", "latency", "audio", "visual")]
    assert lines[1].startswith("0:02.0 to 0:05.0" if "0:05.0" in lines[1] else "0:02.0 to ")
    rows = list(csv.DictReader(io.StringIO(cign(*words, "--csv")[1])))
    assert [row["start_s"] for row in rows] == [f"{2.0 * i}" for i in range(len(rows))]
    assert {"latency_s", "num_dropped", "is_paced"} <= set(rows[0])
    code, out, err = cign(*words, "--segments", "--jsonl")
    assert code == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert all(one["start_s"] < one["end_s"] <= 21 for one in found)
    again = json.loads(cign(*words, "--segments", "--json")[1])
    for one, other in zip(again, found, strict=True):
        assert_nearly(one, other)
    rows = list(csv.DictReader(io.StringIO(cign(*words, "--segments", "--csv")[1])))
    assert [row["start_s"] for row in rows] == [str(one["start_s"]) for one in found]


def test_a_watched_folder_and_its_restart(world, tmp_path):
    folder, state = tmp_path / "in", tmp_path / "state"
    folder.mkdir()
    first, second, third, *_ = world.test_clips()
    shutil.copy(first, folder / "a.mp4")
    command = [
        *(sys.executable, "-m", "cign", "predict", str(world.run), str(folder), "--follow"),
        *("--state", str(state), "--settle", "0.3", "--jsonl"),
    ]

    def run(*new):
        """The files that a call predicts until it is interrupted after the last one."""
        found = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            for clip, name in (*new, (None, None)):
                found.append(Path(json.loads(child.stdout.readline())["file"]).name)
                if clip is not None:
                    part = folder / f".{name}.part"
                    shutil.copy(clip, part)
                    part.rename(folder / name)
            until = time.monotonic() + 10
            while state.read_text().count("\n") <= num_known + len(found):
                assert time.monotonic() < until
                time.sleep(0.05)
            child.send_signal(signal.SIGINT)
            assert child.wait(20) == 130
        return found

    num_known = 0
    assert run((second, "b.mp4")) == ["a.mp4", "b.mp4"]
    num_known = 2
    shutil.copy(third, folder / "c.mp4")
    assert run() == ["c.mp4"]


def test_learner_predict_live(world, stream, live_server):
    server = live_server.LiveServer(stream.read_bytes(), speed=5)
    remarks = []
    found = Learner.load(world.run).predict_live(
        server.url, how=LiveOptions(every_s=1.0), remark=lambda *text: remarks.append(text)
    )
    first = next(found)
    assert first.start_s == 0
    assert first.label
    found.close()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["ftp://host/x.mp4"], ["scheme 'ftp'", "rtsp"]),
        (["device:v4l2"], ["device:FORMAT:NAME"]),
        (["rtsp://127.0.0.1:PORT/x", "a.mp4"], ["is a stream and a.mp4 is a file"]),
        (["rtsp://127.0.0.1:PORT/x", "-"], ["- reads names of files"]),
        (["FOLDER", "a.mp4", "--follow"], ["is a folder and a.mp4 is not"]),
        (["none", "--follow"], ["none is not a file, URL or device"]),
        (["a.mp4", "--state", "s"], ["--state has no effect on files"]),
        (["a.mp4", "--stream-option", "a=b"], ["--stream-option has no effect on files"]),
        (["rtsp://127.0.0.1:PORT/x", "--state", "s"], ["--state is for watched folders"]),
        (["rtsp://127.0.0.1:PORT/x", "--stream-option", "a"], ["'a' is not NAME=VALUE"]),
        (["rtsp://127.0.0.1:PORT/x", "--explain", "e"], ["--explain is for files"]),
        (["rtsp://127.0.0.1:PORT/x", "--reconnect", "-1"], ["--reconnect", "0 or more"]),
        (["FOLDER", "--follow", "--segments"], ["--segments is not for watched folders"]),
        (["rtsp://127.0.0.1:PORT/x", "--segments", "--every", "9"], ["at most", "for segments"]),
        (["rtsp://127.0.0.1:PORT/x", "--segments", "--to", "srt"], ["--to writes labels of files"]),
    ],
)
def test_wrong_use(cign, world, tmp_path, words, parts):
    port = str(free_port())
    given = [one.replace("PORT", port).replace("FOLDER", str(tmp_path)) for one in words]
    refused(cign("predict", world.run, *given), *parts)


def test_nobody_listens(cign, world):
    url = f"rtsp://user:secret@127.0.0.1:{free_port()}/x"
    code, out, err = cign("predict", world.run, url, "--jsonl")
    assert code == 2
    assert "the connection was refused" in json.loads(out)["error"]
    assert json.loads(out)["error_code"] == "stream-failed"
    assert "secret" not in out + err
    assert "user:***@" in err


def test_a_failed_source_is_a_row_of_segments(cign, world):
    url = f"http://127.0.0.1:{free_port()}/x"
    words = ("predict", world.run, url, "--segments")
    one = json.loads(cign(*words, "--jsonl")[1])
    assert one["modalities"] == {"audio": None, "visual": None, "audio_visual": None}
    assert (one["file"], one["num_windows"], one["error_code"]) == (url, None, "stream-failed")
    (row,) = csv.DictReader(io.StringIO(cign(*words, "--csv")[1]))
    assert tuple(row) == COLUMNS
    assert row["audio_probability"] == ""
    assert "refused" in row["error"]
