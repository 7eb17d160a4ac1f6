"""The example of docs/features.md, run in its order."""

import re
from pathlib import Path

import torch

import pages

SMALL = {"train": ["--set", "width=100"], "bench": ["--recipes", "small"]}  # for time


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    text = (pages.DOCS / "features.md").read_text()
    make, use = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    values: dict = {}
    exec(make, values)
    Path("small").mkdir()
    for method in ("analytic", "cign_analytic"):
        Path(f"small/{method}.yaml").write_text(f"method: {method}\noptions: {{width: 100}}\n")
    lines = pages.commands("features.md")
    assert [line.split()[1] for line in lines] == ["prepare", "train", "evaluate", "bench"]
    for line in lines:
        assert pages.run(line, SMALL) == 0, f"{line}: {capsys.readouterr().err}"
    assert len(Path("results.csv").read_text().splitlines()) == 1 + 16
    capsys.readouterr()
    exec(use, values)
    labels, results = capsys.readouterr().out.splitlines()
    assert labels == "['cello', 'drum', 'flute']"
    num_clips, accuracy = results.split()
    assert num_clips == "80"
    assert float(accuracy) > 90
