"""Every command of docs/merging.md, in its order, on clips that lie as the page says."""

import csv
import shlex
import shutil
from pathlib import Path

import torch

from cign.cli.entry_point import main
from cign.learner import Learner

from .page_commands import commands, matching

PAGE = Path(__file__).parents[2] / "docs" / "merging.md"


def test_the_commands_of_the_page_do_what_it_says(tiny, tmp_path, monkeypatch, capsys):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    with (tiny[0] / "clips.csv").open() as file:
        rows = list(csv.DictReader(file))
    classes = list(dict.fromkeys(row["labels"] for row in rows))
    for number, row in enumerate(rows):
        at = classes.index(row["labels"])
        of_second = at > 1 or (at == 1 and number % 2)
        folder = Path("second" if of_second else "first") / row["labels"]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny[0] / row["path"], folder / f"{number}.mp4")
    done = commands(PAGE)
    assert len(done) == 10
    for line in done:
        words = shlex.split(line)[1:]
        if "--backbone" in words:
            words[words.index("--backbone") + 1] = "small-random"
        words = [name for word in words for name in (matching(word) if "*" in word else [word])]
        if words[0] == "prepare":
            words += ["--workers", "0"]
        if words[0] == "train":
            words += ["--set", "width=60"]  # less than a tenth, for time
        assert main(words) == 0, f"{line}: {capsys.readouterr().err}"
    model = Learner.load("work/both").model
    assert sorted(model.classes) == sorted(classes)
    assert model.changes[-1]["text"].startswith("settings changed: audio temperature 0.2")
    said = " ".join(capsys.readouterr().out.split())
    assert f"in several models: {classes[1]}" in said
    assert "audio ridge" in said
    assert "work/both: reverted to version 3" in said
