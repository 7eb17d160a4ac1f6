"""Settings of a method as docs/settings.md changes them."""

import re
import sys

import pytest
import yaml

from cign.methods import METHODS, default_recipe
from cign.methods.phases import Phase, TrainingOptions
from cign.utils.options import with_settings
from pages import DOCS
from refusals import input_error

QUICK = ("--set", "training.num_epochs=2", "--set", "training.batch_size=8")


def test_a_setting_changes_one_option_of_the_recipe(tiny, cign, tmp_path):
    named = (tiny[1], "--out", tmp_path / "run", "--method", "lwf", "--seed", 1, *QUICK)
    code, _, err = cign("train", *named, "--set", "training.schedule=one_cycle")
    assert code == 0, err
    options = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["options"]
    recipe = default_recipe("lwf").options
    changed = {"num_epochs": 2, "batch_size": 8, "schedule": "one_cycle"}
    for name, value in (recipe["training"] | changed).items():
        assert options["training"][name] == value
    assert options["form"] == recipe["form"] == "sigmoid"  # not the default of the dataclass
    # A resumed run takes the same settings and no others.
    same = ("train", tiny[1], "--out", tmp_path / "run", "--resume", *QUICK)
    code, _, err = cign(*same, "--set", "training.schedule=one_cycle")
    assert code == 0, err
    code, _, err = cign(*same, "--set", "training.schedule=cosine")
    assert code == 2
    assert "with training.schedule one_cycle, not cosine" in " ".join(err.split())


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("training.schedule=step", "schedule is 'step': use one of constant, cosine, one_cycle"),
        ("training.shedule=cosine", "unknown option 'shedule': did you mean 'schedule'?"),
        ("schedule=cosine", "unknown option 'schedule'"),
        ("training.schedule", "is invalid: use NAME=VALUE"),
        ("depth.of=1", "depth is one value, not a group"),
    ],
)
def test_an_invalid_setting_is_refused(setting, said, tiny, cign, tmp_path):
    named = ("--method", "finetune", "--set", setting)
    code, _, err = cign("train", tiny[1], "--out", tmp_path / "run", *named)
    assert code == 2
    assert said in " ".join(err.split())
    assert not (tmp_path / "run").exists()


def test_settings_do_not_change_the_recipe_they_start_from():
    options = {"training": {"num_epochs": 3}}
    changed = with_settings(options, ["training.learning_rate=1e-4", "new.part=[1, 2]"])
    assert options == {"training": {"num_epochs": 3}}
    assert changed["training"]["num_epochs"] == 3
    assert changed["new"] == {"part": [1, 2]}
    with input_error("bad-value", "NAME=VALUE"):
        with_settings(options, ["a={"])


def test_the_schedule_of_the_page_is_the_one_that_the_loop_uses(tmp_path, monkeypatch):
    (source,) = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / "settings.md").read_text(), re.M | re.S
    )
    (tmp_path / "icarl_step.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    from toy import toy_loop

    rates = []
    monkeypatch.setattr("cign.training.loop.set_learning_rate", lambda _, rate: rates.append(rate))
    try:
        # As the page says: its settings are those of the recipe of icarl.
        recipe, own = default_recipe("icarl"), default_recipe("icarl_step:IcarlStep")
        assert own.options == recipe.options
        assert own.method == "icarl_step:IcarlStep"
        options = {"training": {"num_epochs": 2, "batch_size": 8, "learning_rate": 0.5}}
        toy_loop("icarl_step:IcarlStep", options=options, memory="8", num_tasks=1).run()
    finally:
        sys.modules.pop("icarl_step", None)
        METHODS.pop("icarl_step", None)
    assert len(rates) == 12
    assert rates == [0.5] * 6 + [0.05] * 6


def test_the_class_of_a_method_is_found_as_the_page_says():
    text = (DOCS / "settings.md").read_text()
    assert "from cign.methods import METHODS; print(METHODS['icarl'])" in text
    assert str(METHODS["icarl"]) == "<class 'cign.methods.icarl.Icarl'>"


def test_the_table_of_the_page_names_every_training_option():
    text = (DOCS / "settings.md").read_text()
    for name in TrainingOptions.__dataclass_fields__:
        assert f"`{name}`" in text, name
    for schedule in ("constant", "cosine", "one_cycle"):
        assert f"`{schedule}`" in text
        assert Phase(
            name="", indices=range(16), options=TrainingOptions(schedule=schedule)
        ).learning_rate(0)
