"""Every command of docs/adding.md, in its order, on clips that lie as the page says."""

import csv
import shlex
import shutil
from pathlib import Path

import torch

from cign.cli.entry_point import main
from cign.learner import Learner

from .page_commands import commands, matching

PAGE = Path(__file__).parents[2] / "docs" / "adding.md"


def test_the_commands_of_the_page_do_what_it_says(tiny, tmp_path, monkeypatch, capsys):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    with (tiny[0] / "clips.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "train"]
    classes = list(dict.fromkeys(row["labels"] for row in rows))
    for number, row in enumerate(rows):
        new = row["labels"] == classes[-1]
        folder = Path("more/old name" if new else f"first/{row['labels']}")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny[0] / row["path"], folder / f"{number}.mp4")
    done = commands(PAGE)
    assert len(done) == 13
    for line in done:
        words = shlex.split(line)[1:]
        if "--backbone" in words:  # the page's pair is loaded from a hub
            words[words.index("--backbone") + 1] = "small-random"
        words = [name for word in words for name in (matching(word) if "*" in word else [word])]
        if words[0] in ("prepare", "add"):
            words += ["--workers", "0"]
        if words[0] == "train":
            words += ["--set", "width=100"]  # a tenth, for time
        if "end-to-end" in words:
            words += ["--set", "adaptation.num_epochs=1"]
        assert main(words) == 0, f"{line}: {capsys.readouterr().err}"
    model = Learner.load("work/model").model
    assert model.classes == (*sorted(classes[:-1]), "old name")
    adapted = Learner.load("work/adapted-model").model
    assert (adapted.regime, adapted.classes) == ("end-to-end", model.classes)
    out = capsys.readouterr().out
    assert "new classes: old name (5 clips)" in out
    assert "more clips, merged: old name" in out
    assert "work/model: reverted to version 2" in out
