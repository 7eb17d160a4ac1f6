"""The trials of a method are in its recipe; `benchmarks/tune.py` runs and chooses among them."""

import shutil

import pytest
import yaml

from benchmark_scripts import script
from cign.data.exemplar_memory import MemoryBudget
from cign.methods import METHODS, default_recipe
from cign.utils.options import configure, read_recipe

tune = script("tune")
TUNED = tune.tuned_methods()


def test_all_methods_but_those_with_published_or_selected_settings_are_tuned():
    assert set(METHODS) - set(TUNED) == {"cign", "cign_analytic", "analytic"}


@pytest.mark.parametrize("name", TUNED)
def test_each_has_six_valid_trials_of_its_own(name):
    tuning = default_recipe(name).tuning
    assert set(tuning) == {"memory", "trials"}
    options = [tune.trial_options(name, trial) for trial in tuning["trials"]]
    assert len(options) == 6
    filled = [configure(METHODS[name].Options, one, "trial") for one in options]
    assert all(one != other for i, one in enumerate(filled) for other in filled[:i])
    for memory in tuning["memory"]:
        MemoryBudget.parse(memory)


def test_a_trial_is_laid_over_its_base_and_the_common_training():
    trial = {"base": "linear", "training": {"learning_rate": 1.0}}
    found = tune.trial_options("finetune", trial)
    common = yaml.safe_load(tune.COMMON.read_text())
    expected = {**common["training"], "learning_rate": 1.0, "weight_decay": 1.0}
    assert found == {"trunk": "linear", "training": expected}
    # A method without training, and a trial without a base.
    assert tune.trial_options("analytic", {"ridge": [1.0]}) == {"ridge": [1.0]}


def test_the_chosen_trial_is_written_and_the_trials_stay(tmp_path):
    path = shutil.copy(tune.RECIPES / "lwf.yaml", tmp_path / "lwf.yaml")
    before = read_recipe(path)
    tune.write_recipe(path, 4)
    after = read_recipe(path)
    assert after.tuning == before.tuning
    assert path.read_text().startswith("#")
    assert after.options["distillation_weight"] == 10.0
    assert after.sources["distillation_weight"].startswith("trial 4 of 6")
    assert after.options["trunk"] == "linear"
