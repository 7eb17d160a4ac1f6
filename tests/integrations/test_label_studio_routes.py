"""The backend over HTTP: statuses, tokens, broken requests, and a server in its own process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cign.integrations.label_studio.records import Key
from commands.adding import refused

from .projects import Studio, annotation, choice, event, task

testclient = pytest.importorskip("starlette.testclient", reason="needs fastapi")
httpx = pytest.importorskip("httpx")

TOKEN = "correct horse"


def client(studio, token=None):
    from cign.integrations.label_studio.server import make_app

    return testclient.TestClient(make_app(studio.backend, token=token))


def test_the_requests_of_label_studio_in_their_order(studio, config, classes, clips):
    http = client(studio)
    assert http.get("/health").json()["status"] == http.get("/").json()["status"] == "UP"
    setup = {
        "project": "7.1629208174",
        "schema": config,
        "hostname": "http://localhost:8080",
        "access_token": "secret",
        "extra_params": None,
    }
    answer = http.post("/setup", json=setup)
    assert answer.status_code == 200
    version = answer.json()["model_version"]
    assert http.get("/versions").json() == {"versions": [version]}
    assert any(classes[-1] in problem for problem in answer.json()["problems"])
    request = {
        "tasks": [task(1, clips[classes[0]][0])],
        "project": setup["project"],
        "label_config": config,
        "params": {"login": None, "password": None, "context": None},
    }
    (result,) = http.post("/predict", json=request).json()["results"]
    assert result["model_version"] == version
    body = event(
        "ANNOTATION_CREATED",
        config,
        task(1, clips[classes[0]][0]),
        annotation(1, choice(classes[0])),
    )
    answer = http.post("/webhook", json=body)
    assert (answer.status_code, answer.json()) == (201, {"status": "ok", "changed": 1})
    answer = http.post("/webhook", json=event("START_TRAINING", config))
    job = answer.json()["job"]
    assert http.post("/job_status", json={"job": job}).json()["job"] == job
    assert studio.wait(job)["result"]["learned"] == 1
    assert http.get("/is_training").json()["is_training"] is False
    (result,) = http.post("/predict", json=request).json()["results"]
    assert result["model_version"] != version  # Label Studio asks again for a new version
    assert http.post("/job_status", json={"job": "none"}).status_code == 410
    for action in ("TASKS_CREATED", "LABEL_LINK_CREATED", "SOMETHING_NEW"):
        answer = http.post("/webhook", json={"action": action})
        assert answer.json()["status"] == "ignored"


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "part"),
    [
        ("/predict", "{", 400, "bad-usage", "not JSON"),
        ("/predict", "[1]", 400, "bad-usage", "not a JSON object"),
        ("/predict", '{"tasks": 1, "tasks": 2}', 400, "bad-usage", "twice"),
        ("/predict", "[" * 100_000, 400, "bad-usage", "not JSON"),
        ("/predict", "{}", 400, "bad-usage", "'tasks'"),
        ("/predict", '{"tasks": []}', 422, "missing-option", "interface"),
        ("/predict", '{"tasks": [], "label_config": "<View/>"}', 422, "unsupported", "no control"),
        ("/predict", '{"tasks": [], "label_config": "<View>"}', 422, "file-unreadable", "XML"),
        ("/setup", "{}", 422, "missing-option", "interface"),
        ("/setup", '{"project": 7, "schema": 8}', 422, "missing-option", "interface"),
        ("/webhook", "{}", 400, "bad-usage", "'action'"),
        ("/webhook", '{"action": "ANNOTATION_CREATED"}', 422, "bad-list", "Send payload"),
        (
            "/webhook",
            '{"action": "ANNOTATION_CREATED", "project": {"id": 1}}',
            422,
            "bad-list",
            "no annotation",
        ),
        (
            "/webhook",
            '{"action": "ANNOTATION_CREATED", "project": {"id": 1}, "annotation": {"id": 1}}',
            422,
            "bad-list",
            "without its task",
        ),
        (
            "/webhook",
            '{"action": "ANNOTATIONS_DELETED", "project": {"id": 1}, "annotations": [{"id": "x"}]}',
            422,
            "bad-list",
            "numbers",
        ),
        (
            "/webhook",
            '{"action": "ANNOTATION_CREATED", "project": {"id": 1}, "annotation": {"id": 1, '
            '"task": [1]}, "task": {"id": 1}}',
            422,
            "bad-list",
            "without its task",
        ),
        (
            "/webhook",
            '{"action": "ANNOTATION_CREATED", "project": {"id": 1}, "annotation": {"id": 1, '
            '"task": 1}, "task": {"id": [1]}}',
            422,
            "bad-list",
            "without its task",
        ),
        (
            "/webhook",
            r'{"action": "ANNOTATION_CREATED", "project": {"id": "\ud800"}}',
            422,
            "bad-list",
            "names no project",
        ),
        (
            "/train",
            r'{"annotations": [], "project": "\ud800", "label_config": ""}',
            422,
            "bad-value",
            "valid Unicode",
        ),
        ("/train", '{"annotations": 3, "project": "1.1"}', 422, "bad-list", "list of tasks"),
        ("/train", '{"annotations": []}', 400, "bad-usage", "'project'"),
    ],
)
def test_broken_requests_are_one_sentence(studio, path, body, status, code, part):
    answer = client(studio).post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error_code"] == code
    assert part in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_lone_surrogates_in_a_task_are_recorded_and_quoted(studio, config, classes, clips):
    """JSON can hold them, UTF-8 cannot."""
    http, odd = client(studio), {"id": 1, "data": {"\ud800": "\ud800"}}

    def post(path, body):
        kind = {"content-type": "application/json"}
        return http.post(path, content=json.dumps(body), headers=kind)

    answer = post("/predict", {"tasks": [odd], "label_config": config})
    assert "its fields: \ud800" in answer.json()["results"][0]["error"]
    good = task(2, clips[classes[0]][0], note="\ud800")
    for number, of_task in ((1, odd), (2, good)):
        body = event("ANNOTATION_CREATED", config, of_task, annotation(number, choice(classes[0])))
        assert [post("/webhook", body).json()["changed"] for _ in range(2)] == [1, 0]
    result = studio.batch(config)
    assert (result["learned"], len(result["problems"])) == (1, 1)
    last = http.get("/health").json()["learning"]["last_job"]
    assert "its fields: \ud800" in last["result"]["problems"][0]


def test_requests_of_web_pages_and_large_ones_are_refused(studio, config):
    http, body = client(studio), json.dumps({"tasks": [], "label_config": config})
    good = {"content-type": "application/json"}
    assert http.post("/predict", content=body, headers=good).status_code == 200
    pages = {**good, "origin": "https://evil.example.org"}
    assert http.post("/predict", content=body, headers=pages).status_code == 403
    assert (
        http.post("/predict", content=body, headers={"content-type": "text/plain"}).status_code
        == 415
    )
    large = " " * (32 * 2**20 + 1)
    assert http.post("/predict", content=large, headers=good).status_code == 413
    assert http.get("/predict").status_code == 405
    assert http.get("/docs").status_code == 404


@pytest.mark.parametrize("path", ["/health", "/versions", "/is_training"])
def test_the_token(studio, path):
    http = client(studio, TOKEN)
    wrong = ("", TOKEN, "Token", "Token wrong", "Digest x", "Basic !", "Basic " + "eDp5")
    for header in wrong:
        answer = http.get(path, headers={"authorization": header} if header else {})
        assert answer.status_code == 401, header
        assert "CIGN_LABEL_STUDIO_TOKEN" in answer.json()["error"]
        assert answer.headers["www-authenticate"].startswith("Basic")
    for kind in ("Token", "Bearer", "token"):
        assert http.get(path, headers={"authorization": f"{kind} {TOKEN}"}).status_code == 200
    assert http.get(path, auth=("anyone", TOKEN)).status_code == 200
    assert http.get(path, auth=("anyone", "wrong")).status_code == 401


def test_the_token_guards_what_is_sent(studio, config):
    http = client(studio, TOKEN)
    body = event("ANNOTATIONS_DELETED", config, annotations=[{"id": 1}])
    assert http.post("/webhook", json=body).status_code == 401
    assert (
        http.post("/webhook", json=body, headers={"authorization": f"Token {TOKEN}"}).status_code
        == 201
    )


def test_the_command_serves_and_stops(model, tiny, config, classes, clips, tmp_path):
    command = [
        *(sys.executable, "-m", "cign", "label-studio", model, "--media", tiny[0], "--port", "0"),
        *("--teach", "--work", tmp_path / "work"),
    ]
    environment = {**os.environ, "CIGN_LABEL_STUDIO_TOKEN": TOKEN}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            address = process.stdout.readline().split()[0]
            assert httpx.get(f"{address}/health").status_code == 401
            with httpx.Client(base_url=address, auth=("cign", TOKEN), timeout=60) as http:
                request = {"tasks": [task(1, clips[classes[0]][0])], "label_config": config}
                (result,) = http.post("/predict", json=request).json()["results"]
                assert "result" in result
                body = event(
                    "ANNOTATION_CREATED",
                    config,
                    task(2, clips[classes[-1]][0]),
                    annotation(2, choice(classes[-1])),
                )
                assert http.post("/webhook", json=body).json()["changed"] == 1
                job = http.post("/webhook", json=event("START_TRAINING", config)).json()["job"]
        finally:
            process.send_signal(signal.SIGTERM)  # the running job is finished
            _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in err
    with Studio(model, tiny[0], tmp_path / "work") as studio:
        state = studio.backend.health()["learning"]
        learned = classes[-1] in studio.service.model.classes
        assert learned == (state["annotations_to_learn"] == 0), job


def test_wrong_options_are_one_sentence(cign, model, runs_model, tmp_path):
    refused(cign("label-studio", model, "--teach"), "--work")
    refused(cign("label-studio", model, "--work", tmp_path / "w"), "--teach")
    refused(cign("label-studio", model, "--learn-after", 3), "--teach")
    refused(cign("label-studio", model, "--media", tmp_path / "gone"), "--media", "gone")
    refused(cign("label-studio", model, "--label-studio", "localhost"), "--label-studio", "http")
    refused(
        cign("label-studio", model, "--label-studio", "http://[x"), "--label-studio", "http://[x"
    )
    refused(cign("label-studio", model, "--allow-host", "http://a"), "--allow-host")
    refused(cign("label-studio", model, "--every", "0"), "--every")
    refused(cign("label-studio", tmp_path / "gone"), "gone")
    refused(
        cign("label-studio", runs_model, "--teach", "--work", tmp_path / "w", "--port", 0), "--out"
    )


RECORDED = Path(__file__).with_name("label_studio_requests.json")


def recorded(classes, clips):
    """Requests that Label Studio 1.23.2 sent, with classes and clips of the tests."""
    text = RECORDED.read_text()
    for label, name, video in zip("AB", classes, ("a.mp4", "b.mp4"), strict=False):
        text = text.replace(f'value=\\"{label}\\"', f'value=\\"{name}\\"')
        text = text.replace(f'"{label}"', f'"{name}"').replace(video, clips[name][0])
    return json.loads(text)


def test_recorded_requests_of_label_studio(studio, classes, clips):
    http, answers = client(studio), []
    for one in recorded(classes, clips):
        body = {"json": one["body"]} if one["method"] == "POST" else {}
        answer = http.request(one["method"], one["path"], **body)
        assert answer.status_code in (200, 201), answer.text
        answers.append((one["path"], one["body"].get("action"), answer.json()))
        if "job" in answer.json():
            # The first annotation was corrected before; the second is a part of 1 s.
            assert studio.wait(answer.json()["job"])["result"]["learned"] == 2
            assert studio.backend._ledger.learned()[learned_key(clips[classes[0]][0])].labels == (
                classes[1],
            )
    setup, predicted, versions, *events = [answer for _, _, answer in answers]
    assert setup["model_version"] == versions["versions"][0]
    assert [one["model_version"] for one in predicted["results"]] == versions["versions"] * 2
    assert all("result" in one for one in predicted["results"])
    # Created twice, updated, trained, deleted twice; the task that is deleted has none left.
    assert [event["changed"] for event in events] == [1, 1, 1, 0, 1, 1, 0]
    last = http.post("/train", json={"project": "2.1796073851"}).json()["job"]
    assert studio.wait(last)["result"]["forgotten"] == 2


def learned_key(video):
    return Key(f"/data/local-files/?d={video}", None, None)
