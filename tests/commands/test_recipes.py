"""Recipes on the command line: options of runs with and without exemplars."""

import yaml


def options_of(run):
    return yaml.safe_load((run / "config.yaml").read_text())["options"]["training"]


def test_options_with_exemplars_hold_for_new_and_resumed_runs(cign, world, tmp_path):
    recipe = tmp_path / "two.yaml"
    recipe.write_text(
        "method: finetune\n"
        "options: {training: {num_epochs: 1, batch_size: 4, learning_rate: 0.25}}\n"
        "with_memory: {training: {learning_rate: 0.125}}\n"
    )
    start = ("train", world.store, "--recipe", recipe, "--tasks", "2")
    for name, memory, rate in (("none", (), 0.25), ("some", ("--memory", "8"), 0.125)):
        run = tmp_path / name
        code, _, err = cign(*start, "--out", run, *memory)
        assert code == 0, err
        assert options_of(run)["learning_rate"] == rate
        assert options_of(run)["batch_size"] == 4
        # A resumed run knows its memory.
        code, _, err = cign("train", world.store, "--recipe", recipe, "--out", run, "--resume")
        assert code == 0, err
