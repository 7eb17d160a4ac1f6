"""The command itself, killed again and again: the same model and metrics, byte for byte."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

CASES = {
    "frozen": ["--method", "cign", "--memory", "8"],
    "end-to-end": ["--method", "finetune", "--memory", "8", "--regime", "end-to-end"],
}
RECIPE = "method: {}\noptions: {{training: {{num_epochs: 30, min_steps: 0, batch_size: 4}}}}\n"
NUM_KILLS = 8


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_command_killed_at_random_moments_gives_the_same_files(tiny, tmp_path, case):
    options = CASES[case]
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(options[1]))
    command = [
        sys.executable,
        "-m",
        "cign.cli.entry_point",
        "train",
        str(tiny[1]),
        "--tasks",
        "2",
        *options,
    ]
    command += ["--recipe", str(tmp_path / "recipe.yaml")]
    subprocess.run([*command, "--out", str(tmp_path / "whole")], check=True)
    rng, kills = random.Random(case), 0
    broken = tmp_path / "broken"
    while kills < NUM_KILLS:
        resume = ["--resume"] if (broken / "config.yaml").exists() else []
        child = subprocess.Popen([*command, "--out", str(broken), *resume])
        began = time.monotonic()
        while child.poll() is None and time.monotonic() - began < rng.uniform(3, 12):
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        if child.wait() == 0:
            break
        kills += 1
    assert kills >= 2, "the run ended before it could be killed twice: make it longer"
    if not (broken / "report.html").exists():
        subprocess.run([*command, "--out", str(broken), "--resume"], check=True)
    whole = tmp_path / "whole"
    for name in ("model/model.safetensors", "predictions.parquet"):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name
    ours, theirs = (json.loads((f / "metrics.json").read_text()) for f in (broken, whole))
    assert ours["modalities"] == theirs["modalities"]
    assert ours["losses"] == theirs["losses"]
