"""Commands that are killed, or find the disk full, and what their user does next."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cign.bench import cluster
from faults.cases import COMMANDS
from faults.children import run_in_one_process

PROGRAMS = Path(__file__).parent


def campaign(folder, *options, program="campaign.py"):
    """Counts and problems of trials, made in a process that can fork."""
    command = [sys.executable, str(PROGRAMS / program), str(folder), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder in which the first program makes clips, stores and models, for all of them."""
    return tmp_path_factory.mktemp("faults") / "world"


def test_killed_and_full_disk_lose_nothing(world):
    commands = ("--commands", "prepare,add", "--number", 2, "--seed", 11)
    found = campaign(world, "--faults", "kill,disk", *commands)
    assert found["problems"] == []
    assert sum(found["counts"].values()) >= 4


def test_other_writers_and_a_lack_of_memory_lose_nothing(world):
    commands = ("--commands", "resolve", "--number", 2, "--seed", 3)
    found = campaign(world, "--faults", "writer,memory", *commands)
    assert found["problems"] == []
    assert sum(found["counts"].values()) >= 4


def test_mutated_models_stores_and_lists_are_refused_or_used(world):
    found = campaign(world, "--number", 12, "--seed", 40, program="fuzz_inputs.py")
    assert found["problems"] == []
    assert sum(found["counts"].values()) == 12


def test_a_server_answers_whatever_its_clients_send(world):
    found = campaign(world, "--number", 6, "--seed", 2, program="serving.py")
    assert found["problems"] == []
    assert sum(found["counts"].values()) == 6


def test_benches_of_the_campaign_can_make_their_runs_in_their_own_process(monkeypatch):
    monkeypatch.setattr(cluster, "run_all", lambda jobs, num_workers, view: num_workers)
    run_in_one_process()
    with cluster.on_engine("local") as (_, make_runs):
        assert make_runs([], 4, None) == 0


@pytest.mark.slow
def test_killed_at_fifty_moments(tmp_path):
    found = campaign(tmp_path / "world", "--faults", "kill", "--number", 60)
    assert found["problems"] == []
    kills = [number for what, number in found["counts"].items() if what.endswith("injected")]
    assert sum(kills) >= 50
    assert len(kills) == len(COMMANDS), "each command was killed"


@pytest.mark.slow
def test_full_disks_and_jumping_clocks(tmp_path):
    found = campaign(tmp_path / "world", "--faults", "disk,clock", "--number", 40)
    assert found["problems"] == []


@pytest.mark.slow
def test_other_writers_and_a_lack_of_memory(tmp_path):
    found = campaign(tmp_path / "world", "--faults", "writer,memory", "--number", 40)
    assert found["problems"] == []


@pytest.mark.slow
@pytest.mark.parametrize(("program", "number"), [("fuzz_inputs.py", 1000), ("serving.py", 200)])
def test_many_mutated_inputs_and_requests(program, number, tmp_path):
    found = campaign(tmp_path / "world", "--number", number, program=program)
    assert found["problems"] == []


TMPFS = """
import json, subprocess, sys
from pathlib import Path
place, clips, program = Path(sys.argv[1]), sys.argv[2], [sys.executable, "-m", "cign"]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)], check=True)
prepare = [*program, "prepare", clips, str(place / "store"), "--backbone", "small-random"]
first = subprocess.run([*prepare, "--workers", "0"], capture_output=True, text=True)
subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
second = subprocess.run([*prepare, "--workers", "0"], capture_output=True, text=True)
names = sorted(p.name for p in (place / "store").iterdir())
print(json.dumps([first.returncode, first.stderr, second.returncode, second.stderr, names]))
"""


def test_a_disk_that_is_really_full(tiny, tmp_path):
    unshare = shutil.which("unshare")
    own = [str(unshare), "-rm"]
    if unshare is None or subprocess.run([*own, "true"], check=False).returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk")
    (tmp_path / "disk").mkdir()
    command = [*own, sys.executable, "-c", TMPFS, str(tmp_path / "disk"), str(tiny[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    code, error, second, second_error, names = json.loads(done.stdout)
    assert code == 1
    assert "Traceback" not in error
    assert "free" in error
    assert "use a store folder on another disk" in error or "are needed" in error
    assert second == 0, second_error
    assert "store.json" in names
