"""The method of the page on methods of one's own is tuned, compared and reported as it says."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark_scripts import BENCHMARKS
from toy import toy_loop

PAGE = Path(__file__).parents[2] / "docs" / "own-method.md"


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The folder of the page, importable."""
    text = PAGE.read_text(encoding="utf-8")
    for language, name in (("python", "margin.py"), ("yaml", "margin.yaml")):
        (block,) = re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
        (tmp_path / name).write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(BENCHMARKS)
    yield tmp_path
    sys.modules.pop("margin", None)


def test_it_is_searched_and_gets_a_row(mine):
    trials, compare = map(importlib.import_module, ("tuning_trials", "compare"))
    comparisons = importlib.import_module("comparisons")
    space = trials.space_of("margin:Margin")
    assert space.axes["margin"] == [0.0, 1.0, 2.0, 4.0]
    assert space.start["margin"] == 1.0
    assert {"base", "training.learning_rate", "training.weight_decay"} < set(space.axes)
    more = compare.with_rows(comparisons.REAL_FOLDS, ["margin:Margin"])
    new = [job for job in more.jobs() if job.row.method == "margin:Margin"]
    assert {job.table.dataset for job in new} == {"real24", "real24_clutter"}  # one label a clip


def test_it_learns_and_its_margin_is_as_described(mine):
    margin = importlib.import_module("margin")
    from cign.methods.base import Setup
    from toy import SHAPE

    loop = toy_loop("finetune", num_tasks=2)
    loop.method = margin.Margin(Setup(shape=SHAPE), margin.MarginOptions(margin=2.0))
    loop.method.grow(3)
    (batch,) = loop._feed.batches([loop.clips.of_task(loop.train, 0)[:4]], 0)
    losses = loop.method.learn(batch, None)
    logits = loop.method.network(batch.audio, batch.visual)["audio"].detach().double().numpy()
    wanted = 0.0
    for row, label in zip(logits, batch.targets.numpy().argmax(axis=1), strict=True):
        row = row.copy()
        row[label] -= 2.0
        wanted += (np.log(np.exp(row).sum()) - row[label]) / len(logits)
    assert losses["audio"].item() == pytest.approx(wanted, rel=1e-5)


def test_the_bench_and_its_files(mine, tiny, cign, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(mine))
    bench = tmp_path / "bench"
    quick = mine / "quick"
    quick.mkdir()
    training = "training: {num_epochs: 1, batch_size: 8}"
    for name in ("margin:Margin", "finetune"):
        (quick / f"{name}.yaml").write_text(f"method: {name}\noptions: {{{training}}}\n")
    code, _, err = cign(
        *("bench", tiny[1], "--out", bench, "--methods", "finetune,margin:Margin", "--tasks", "2"),
        *("--recipes", quick, "--against", "finetune", "--workers", "1", "--no-models"),
    )
    assert code == 0, err
    for name, content in (("table.tex", r"\toprule"), ("differences.svg", "<svg")):
        code, _, err = cign("report", bench, "--out", tmp_path / name)
        assert code == 0, err
        assert content in (tmp_path / name).read_text()
    assert "margin" in (tmp_path / "table.tex").read_text()
