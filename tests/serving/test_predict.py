"""What `cign serve` answers, compared with `cign predict`."""

import http.client
import io
import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from cign.inference.predict import decode
from cign.serving.hosts import allowed_host
from cign.serving.page import documentation

from .client import running

VERSION = {"model_version", "model_checksum"}
TOLERANCE = 1e-3  # tokens are rounded to float16, after sums whose order depends on the batch


def expected(learner, files, **how):
    """What `cign predict --json` prints, with the names of uploads."""
    found = [one.to_dict() for one in learner.predict(files, progress=False, **how)]
    return [{**one, "file": one["file"].split("/")[-1]} for one in found]


def without_version(objects):
    assert all(one.keys() >= VERSION for one in objects)
    return [{name: value for name, value in one.items() if name not in VERSION} for one in objects]


def numbers(value):
    if isinstance(value, dict):
        return [x for one in value.values() for x in numbers(one)]
    if isinstance(value, list):
        return [x for one in value for x in numbers(one)]
    return [float(value)] if isinstance(value, float) else []


def test_alone_it_equals_predict_exactly(server, learner, clips):
    for clip in clips[:3]:
        answer = server.predict(clip, query="?top=2&unknown_threshold=0.9")
        assert answer.status == 200
        assert without_version(answer.json) == expected(learner, clip, top=2, unknown_threshold=0.9)
    assert answer.json[0]["model_version"] == 1
    assert re.fullmatch("[0-9a-f]{12}", answer.json[0]["model_checksum"])


def test_concurrent_requests_get_their_own_answers(server, learner, clips):
    """Batches of other sizes change the rounding; requests are never mixed up."""
    alone = expected(learner, clips)
    before = batches(server)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(server.predict, clips * 2))
    for answer, right in zip(found, alone * 2, strict=True):
        (one,) = without_version(answer.json)
        assert one["label"] == right["label"]
        assert one["file"] == right["file"]
        scores = [one["modalities"], one["unknown"]], [right["modalities"], right["unknown"]]
        np.testing.assert_allclose(*map(numbers, scores), rtol=0, atol=TOLERANCE)
    count, total = (after - old for after, old in zip(batches(server), before, strict=True))
    assert total == len(found)
    assert count < total  # some were computed together


def batches(server):
    """Number of batches and of windows in them."""
    text = server.get("/metrics").body.decode()
    return [
        float(re.search(rf"cign_batch_size_{name} (\S+)", text)[1]) for name in ("count", "sum")
    ]


def test_windows(server, learner, clips):
    answer = server.predict(clips[0], query="?every=0.25")
    right = expected(learner, clips[0], every_s=0.25)
    assert len(right) > 1
    for one, other in zip(without_version(answer.json), right, strict=True):
        assert (one["start_s"], one["end_s"]) == (other["start_s"], other["end_s"])
        np.testing.assert_allclose(numbers(one), numbers(other), rtol=0, atol=1e-3)


def test_maps(server, learner, clips):
    observed = []
    list(learner.predict(clips[0], observer=lambda *seen: observed.append(seen)))
    ((prediction, _, maps),) = observed
    (answer,) = server.predict(clips[0], query="?maps=true&top=2").json
    best = [one["label"] for one in prediction.modalities["audio_visual"]][:2]
    assert list(answer["maps"]) == best
    for name in best:
        number = learner.classes.index(name)
        found = answer["maps"][name]
        np.testing.assert_allclose(found["visual"], maps.visual[..., number], atol=1e-5)
        np.testing.assert_allclose(found["audio"], maps.audio[..., number], atol=1e-5)


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


NPZ = {"Content-Type": "application/x-npz"}


def test_arrays(server, learner, clips):
    spec = learner.model.spec
    decoded = decode(clips[0], spec)
    arrays = {"audio": decoded.audio, "frames": decoded.frames}
    how = {"rate_hz": float(spec.rate_hz)}
    answer = server.call("POST", "/predict", npz(**arrays, **how), NPZ)
    right = learner.predict(**arrays, **how).one().to_dict()
    assert without_version(answer.json) == [right]
    server.call("POST", "/predict", npz(audio=decoded.audio), NPZ).refused(
        422, "missing-option", "rate_hz"
    )
    server.call("POST", "/predict", npz(sound=decoded.audio), NPZ).refused(
        422, "bad-clip", "'sound'", "rate_hz"
    )


def test_features(server, learner, clips):
    kept = learner.model.kept
    audio, visual = kept.audio.numpy()[:5], kept.visual.numpy()[:5]
    body = npz(audio_features=audio, visual_features=visual)
    answer = server.call("POST", "/predict?top=1", body, NPZ)
    right = [one.to_dict() for one in learner.predict_features(audio, visual, top=1)]
    assert [{**one, "file": None} for one in without_version(answer.json)] == [
        {**one, "file": None} for one in right
    ]
    server.call("POST", "/predict?every=1", body, NPZ).refused(422, "conflicting-options")
    server.call("POST", "/predict", npz(audio_features=audio), NPZ).refused(422, "bad-clip")


@pytest.fixture
def files(clips):
    """A web server with the clips; yields its host and port."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            if self.path.startswith("/to/"):
                self.send_response(302)
                self.send_header("Location", self.path.removeprefix("/to/"))
                self.end_headers()
                return
            super().do_GET()

    where = clips[0].parent
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *given: Handler(*given, directory=where)
    ) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.05,))
        thread.start()
        yield f"127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def test_urls_of_allowed_hosts(trained, learner, clips, files):
    kind = {"Content-Type": "application/json"}

    def ask(client, url):
        return client.call("POST", "/predict", json.dumps({"url": url}), kind)

    with running(trained, allowed_hosts=(allowed_host(files),), max_upload=2**20) as client:
        (answer,) = without_version(ask(client, f"http://{files}/{clips[0].name}?x=1").json)
        assert [answer] == expected(learner, clips[0])
        (answer,) = ask(client, f"http://{files}/to//{clips[0].name}").json
        assert answer["label"]
        ask(client, f"http://{files}/none.mp4").refused(502, "url-failed", "404")
        # The redirect is checked like the address itself.
        ask(client, f"http://{files}/to/http://127.0.0.1:1/x.mp4").refused(403, "url-refused")
        ask(client, f"http://{files}/to/file:///etc/passwd").refused(403, "url-refused", "'file'")
        ask(client, f"http://{files}/to//to//to//to//x").refused(502, "url-failed", "3 redirects")


def test_a_broken_file_has_the_code_of_predict(server, learner, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no media" * 100)
    (right,) = learner.predict(broken)
    server.predict(broken).refused(422, right.error_code, "broken.mp4", right.error)
    text = server.get("/metrics").body.decode()
    assert f'cign_decode_errors_total{{code="{right.error_code}"}}' in text


def test_an_internal_error_is_json_and_in_the_log(trained, clips, capsys):
    def make(state):
        router = APIRouter()

        @router.post("/bug")
        async def bug():
            raise KeyError("the bug")

        @router.post("/late-bug")
        async def late_bug():
            async def parts():
                yield b"begun"
                raise KeyError("the late bug")

            return StreamingResponse(parts())

        return router

    with running(trained, routers=(make,)) as client:
        client.call("POST", "/bug").refused(500, "internal", "the log of the server")
        with pytest.raises(http.client.IncompleteRead):
            client.call("POST", "/late-bug")
        assert client.predict(clips[0]).status == 200
        assert 'route="/bug",status="500"' in client.get("/metrics").body.decode()
    log = capsys.readouterr().err
    assert log.count("KeyError: 'the bug'\n") == log.count("KeyError: 'the late bug'\n") == 1


@pytest.mark.parametrize(
    ("query", "status", "code", "part"),
    [
        ("?top=0", 422, "bad-value", "top"),
        ("?every=-1", 422, "bad-value", "every"),
        ("?every=nan", 422, "bad-value", "every"),
        ("?unknown_threshold=2", 422, "bad-value", "unknown_threshold"),
        ("?tops=2", 400, "bad-request", "'tops'"),
    ],
)
def test_parameters_are_checked(server, clips, query, status, code, part):
    server.predict(clips[0], query=query).refused(status, code, part)


def test_what_the_server_says_of_itself(server, learner):
    health = server.get("/health").json
    assert health["live"]
    assert health["ready"]
    assert health["num_classes"] == len(learner.classes)
    assert [one["name"] for one in server.get("/classes").json["classes"]] == [*learner.classes]
    assert server.get("/health/live").json == {"live": True}
    assert server.get("/health/ready").json == {"ready": True}
    server.get("/nothing").refused(404, "not-found")
    server.get("/predict").refused(405, "method-not-allowed")
    text = server.get("/metrics").body.decode()
    for name in ("requests_total", "request_seconds_bucket", "queue", "model_version"):
        assert f"cign_{name}" in text


def test_the_documentation_needs_no_other_host(server):
    api = server.get("/openapi.json").json
    assert {"/predict", "/classes", "/health", "/metrics", "/undo"} <= set(api["paths"])
    example = api["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    assert set(example["example"][0]) > VERSION
    page = server.get("/docs")
    assert page.body.decode() == documentation(api)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert re.findall(r'(?:src|href)="([^"]+)"', page.body.decode()) == ["openapi.json"]
    assert "<script" not in page.body.decode()


def test_the_documentation_shows_code_and_values_as_code(server):
    page = documentation(server.get("/openapi.json").json)
    without_examples = re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
    assert "`" not in without_examples
    assert re.search(r"\S \(default: <code>false</code>\)", without_examples.replace("\n", ""))
    api = {
        "info": {"title": "t", "description": "the field `a<b` of <all>"},
        "paths": {},
    }
    assert "the field <code>a&lt;b</code> of &lt;all&gt;" in documentation(api)


def test_the_example_has_the_fields_of_an_answer(server, clips):
    (answer,) = server.predict(clips[0]).json
    api = server.get("/openapi.json").json
    example = api["paths"]["/predict"]["post"]["responses"]["200"]["content"]["application/json"]
    assert set(example["example"][0]) == set(answer)


def test_the_example_client(server, learner, clips):
    script = Path(__file__).parents[2] / "examples" / "serve_client.py"
    command = [sys.executable, script, f"http://127.0.0.1:{server.port}", clips[0]]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    one = learner.predict(clips[0]).one()
    assert said == f"{clips[0].name}: {one.label} {one.probability:.2f}\n"
