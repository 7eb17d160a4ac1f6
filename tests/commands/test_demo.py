"""The demo's table says what each number is, and that it is one run of each."""

from types import SimpleNamespace

import cign.cli.demo
from cign.cli.entry_point import main
from cign.runs.configuration import RunConfig
from cign.utils.files import write_json
from cign.utils.progress import Silent


def test_demo_shows_its_table(monkeypatch, tmp_path, capsys):
    numbers = {"last": 81.25, "average": 90.0, "forgetting": None}
    metrics = {"modalities": dict.fromkeys(("audio", "visual", "audio_visual"), numbers)}
    rows = [
        (
            SimpleNamespace(title="cign (quick)", method="cign", memory="120"),
            metrics | {"limit": 98.0},
        ),
        (SimpleNamespace(title="joint", method="joint", memory="0"), metrics | {"limit": 98.0}),
    ]
    folders = []
    monkeypatch.setattr(cign.cli.demo, "run_demo", lambda out, *_: folders.append(out) or rows)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert folders == [tmp_path]
    words = " ".join(out.split())
    assert "after the last task / mean over the tasks / forgetting" in words
    assert "360 test clips; 12 classes of 40 training clips in 4 tasks" in words
    assert (
        "The best possible is 98 %: in 4 % of the clips one modality shows another class" in words
    )
    assert "world) 20: no method was tuned on it" in words
    assert "One dataset, one class order, one seed" in words
    assert all(len(line) <= 80 for line in out.splitlines() if str(tmp_path) not in line)
    (row,) = [line for line in out.splitlines() if line.startswith("cign (quick)")]
    assert "120 clips" in row
    assert row.count("81.2/90.0/-") == 3
    (joint,) = [line for line in out.splitlines() if line.startswith("joint")]
    assert "all clips" in joint
    assert str(tmp_path / "report.html") in out


def test_what_other_settings_made_is_made_anew(monkeypatch, tmp_path):
    learned = []

    class Learns:
        def __init__(self, method, options, memory, device):
            self.config = RunConfig.of(method, options=options, memory=memory)
            self.metrics = {"ridge": options["ridge"]}

        def learn(self, store, *, tasks, out, resume, progress):
            assert not resume
            learned.append(self.config.options["ridge"])
            (out / "model").mkdir(parents=True)
            self.config.save(out)
            write_json(out / "model" / "model.json", {})
            write_json(out / "metrics.json", self.metrics)

    monkeypatch.setattr(cign.cli.demo, "Learner", Learns)

    def of(ridge):
        run = SimpleNamespace(
            title="t", method="analytic", memory="0", options={"ridge": ridge, "width": 20}
        )
        return cign.cli.demo._learn(run, None, tmp_path / "run", Silent(), "cpu")

    assert [of(1.0), of(1.0), of(2.0), of(2.0)] == [
        {"ridge": 1.0},
        {"ridge": 1.0},
        {"ridge": 2.0},
        {"ridge": 2.0},
    ]
    assert learned == [1.0, 2.0]


def test_the_demo_learns_what_no_setting_was_chosen_on():
    """By the methods' own recipes, but for the network that would take an hour."""
    assert cign.cli.demo.CLIPS.world == 20
    own = [run.method for run in cign.cli.demo.RUNS if run.options is None]
    assert own == ["cign_analytic", "finetune", "joint"]
    assert {run.method for run in cign.cli.demo.RUNS} == {*own, "cign"}


def test_the_widest_row_fits_80_columns(monkeypatch, tmp_path, capsys):
    """With two digits before each point, in every cell."""
    numbers = {"last": 99.9, "average": 99.9, "forgetting": 99.9}
    metrics = {"modalities": dict.fromkeys(("audio", "visual", "audio_visual"), numbers)}
    rows = [(run, metrics) for run in cign.cli.demo.RUNS]
    monkeypatch.setattr(cign.cli.demo, "run_demo", lambda *_: rows)
    assert main(["demo", "--out", str(tmp_path)]) == 0
    table = capsys.readouterr().out.splitlines()[: 2 + len(rows)]
    assert max(map(len, table)) <= 80
    assert len([line for line in table if "99.9/99.9/99.9" in line]) == len(rows)
