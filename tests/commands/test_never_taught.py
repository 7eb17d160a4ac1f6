"""`cign predict` on clips of classes that were never taught, with encoders that have learned."""

import json

import torch


def test_unknown_is_printed_for_clips_of_classes_never_taught(cign, tmp_path):
    torch.set_num_threads(1)
    clips, store, run = tmp_path / "clips", tmp_path / "store", tmp_path / "run"
    counts = ["--classes", "4", "--train", "10", "--val", "8", "--test", "5", "--workers", "1"]
    assert cign("synth", clips, "--variant", "openset", "--world", "1002", *counts)[0] == 0
    assert cign("prepare", clips, store, "--backbone", "small", "--workers", "0")[0] == 0
    method = ["--method", "cign_analytic", "--tasks", "2", "--set", "width=300"]
    assert cign("train", store, "--out", run, *method)[0] == 0

    def answers(split):
        files = sorted((clips / split).rglob("*.mp4"))
        code, out, _ = cign("predict", run, *files, "--json")
        assert code == 0
        found = json.loads(out)
        assert len(found) == len(files)
        return files, found

    strange, never_taught = answers("unknown")
    _, taught = answers("test")
    share = sum(one["is_unknown"] for one in never_taught) / len(never_taught)
    false_alarms = sum(one["is_unknown"] for one in taught) / len(taught)
    assert share > 0.3
    assert share > false_alarms + 0.2
    spotted = [i for i, one in enumerate(never_taught) if one["is_unknown"]]
    printed = cign("predict", run, strange[spotted[0]])[1]
    name = str(strange[spotted[0]])
    (row,) = [line for line in printed.splitlines() if line.startswith(name)]
    label, _, flag = row.removeprefix(name).split()[:3]
    assert (label, flag) == (never_taught[spotted[0]]["label"], "yes")
