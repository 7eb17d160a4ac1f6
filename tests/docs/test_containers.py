"""The Dockerfile has the steps of the README, and its commands exist."""

import http.server
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

import pages
from benchmark_scripts import tool
from cign.cli.arguments import CommandParser
from cign.cli.commands import serve

pytest.importorskip("dockerfile_parse", reason="needs the extra dev")

ROOT = Path(__file__).parents[2]
dockerfile = tool("dockerfile")


@pytest.fixture
def copy(tmp_path):
    """The files that the comparison reads, to be changed."""
    names = ("Dockerfile", ".dockerignore", "README.md", "LICENSE")
    for name in (*names, "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "src").mkdir()
    return tmp_path


def test_the_dockerfile_has_the_steps_of_the_readme():
    assert dockerfile.problems() == []


@pytest.mark.parametrize(
    ("file", "old", "new", "problem"),
    [
        ("Dockerfile", "torch==", "torch>=", "README installs torch==2.13.0"),
        ("Dockerfile", "--no-deps aisfx", "aisfx", "README installs --no-deps aisfx==0.1.2"),
        ("Dockerfile", '"real,serve"', '"serve"', "README installs .[real]"),
        ("Dockerfile", '"real,serve"', '"real,server"', "pyproject.toml has no extra server"),
        ("Dockerfile", "USER cign", "USER root", "the image runs as root"),
        ("Dockerfile", '"0.1.0.dev0"', '"0.2.0"', "the label of the version is not"),
        ("Dockerfile", "COPY src src", "COPY sources src", "COPY sources finds nothing"),
        ("Dockerfile", "ARG EXTRAS", 'ARG HUB_TOKEN=""\nARG EXTRAS', "HUB_TOKEN: secrets"),
        (".dockerignore", "!src\n", "", "COPY src finds nothing"),
        ("README.md", "torch==2.13.0", "torch==2.14.0", "README installs torch==2.14.0"),
        ("constraints.txt", "aisfx==0.1.2", "aisfx==0.1.3", "does not pin aisfx==0.1.2"),
    ],
)
def test_a_difference_is_found(file, old, new, problem, copy):
    path = copy / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert any(problem in found for found in dockerfile.problems(copy)), dockerfile.problems(copy)


def test_only_what_is_copied_is_sent_to_the_builder():
    rules = dockerfile.rules_of(ROOT)
    for path in (".git", "work", ".env", "tests", ".venv", "id_rsa"):
        assert not dockerfile.is_sent(path, rules), path


def test_the_command_of_the_image_exists_and_listens_where_the_check_looks():
    found = dockerfile.commands()
    assert found["ENTRYPOINT"] == ["cign"]
    name, *words = found["CMD"]
    assert name == "serve"
    parser = CommandParser(name, serve.SUMMARY)
    serve.add_options(parser)
    options = parser.parse_args(words)
    assert str(options.model) == "/model"
    assert options.host == "0.0.0.0"
    (port,) = re.findall(r":(\d+)/health", found["HEALTHCHECK"][-1])
    final = dockerfile.final_stage()
    assert [port] == [str(options.port)] == final.values("EXPOSE")


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_tells_whether_the_server_is_ready(status, healthy):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        program, *words = dockerfile.commands()["HEALTHCHECK"]
        assert program == "python"
        words = [word.replace(":8000", f":{server.server_port}") for word in words]
        done = subprocess.run([sys.executable, *words], capture_output=True, check=False)
        server.shutdown()
    assert (done.returncode == 0) == healthy


def test_the_compose_example_is_of_this_image():
    text = (pages.DOCS / "containers.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.M | re.S)
    (service,) = yaml.safe_load(block)["services"].values()
    assert service["build"]["target"] in dockerfile.stages()
    final = dockerfile.final_stage()
    assert set(service["build"]["args"]) <= set(final.pairs("ARG"))
    assert [port.split(":")[-1] for port in service["ports"]] == final.values("EXPOSE")
    model = dockerfile.commands()["CMD"][1]
    assert [one.split(":")[-2] for one in service["volumes"]] == [model]
    # A secret is taken from the environment of whoever starts it.
    assert service["environment"] == ["CIGN_TOKEN"]


@pytest.mark.slow
def test_the_steps_of_the_dockerfile_install_what_predicts(tmp_path, tiny):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "dockerfile.py", "build", tmp_path / "image"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    program = tmp_path / "image" / "python" / "bin" / "cign"
    for words in (
        ["prepare", tiny[0], tmp_path / "store", "--backbone", "small"],
        ["train", tmp_path / "store", "--out", tmp_path / "run"],
        ["predict", tmp_path / "run", *sorted(tiny[0].rglob("*.mp4"))[:2]],
    ):
        subprocess.run([program, *words], check=True, cwd=tmp_path)
    load = "from cign.backbones.registry import load_backbone as load; load('lite0+sfx')"
    subprocess.run([program.with_name("python"), "-c", load], check=True, cwd=tmp_path)
