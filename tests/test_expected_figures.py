"""Trap 12: what each method reached on a small problem, and whether it still does.

A method that falls behind without any test of its parts failing is found here. The record is
``benchmarks/results/expected.json``; it is made by ``python benchmarks/expected.py``.
"""

import json
from pathlib import Path

import pytest
import torch

from benchmark_scripts import script
from cign.methods import METHODS

ROOT = Path(__file__).parents[1]
REFRESH = "refresh it by: python benchmarks/expected.py"


expected = script("expected")
RECORD = json.loads(expected.RESULTS.read_text())
CASES = [pytest.param(*case, id="@".join(case)) for case in expected.cases()]


def complaints(name, memory, found, recorded):
    """What is wrong with a recorded figure, given what a run finds now."""
    result = []
    for number in ("last", "average"):
        for modality, value in recorded[number].items():
            now = found[number][modality]
            if abs(now - value) > expected.TOLERANCE_POINTS:
                result.append(
                    f"{number} {modality} accuracy of {name} at memory {memory} is {now}, "
                    f"{value} was recorded (tolerance {expected.TOLERANCE_POINTS} points)"
                )
    if result:
        result.append(f"once the change is understood, {REFRESH} --methods {name}")
    return result


@pytest.mark.slow
@pytest.mark.parametrize(("name", "memory"), CASES)
def test_trap_12_a_method_reaches_its_expected_figures(name, memory):
    key = f"{name}@{memory}"
    assert key in RECORD["figures"], f"{key} is not recorded: {REFRESH} --methods {name}"
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = expected.run(name, memory)
    finally:
        torch.set_num_threads(before)
    wrong = complaints(name, memory, found, RECORD["figures"][key])
    assert not wrong, "; ".join(wrong)


# ---------------------------------------------------------------- quick: the record and its check


def test_trap_12_every_method_is_recorded_on_a_problem_that_tells_them_apart():
    figures = RECORD["figures"]
    assert set(figures) == {"@".join(case) for case in expected.cases()}
    assert {key.partition("@")[0] for key in figures} == set(METHODS)
    chance = 100 / expected.NUM_CLASSES
    for key, figure in figures.items():
        for modality, value in figure["average"].items():
            assert 2 * chance < value < 95, (key, modality)
    best = figures["joint@0"]["last"]
    # The classes overlap, and both modalities together tell more than one.
    assert 50 < max(best["audio"], best["visual"]) < best["audio_visual"] - 5 < 90
    # Forgetting shows: without old clips fine-tuning is far below joint.
    assert figures["finetune@0"]["last"]["audio_visual"] < best["audio_visual"] - 25


FIGURE = {
    "last": {"audio": 50.0, "visual": 60.0, "audio_visual": 70.0},
    "average": {"audio": 60.0, "visual": 70.0, "audio_visual": 80.0},
}


def test_trap_12_figures_within_the_tolerance_are_no_complaint():
    near = {**FIGURE, "last": {"audio": 51.9, "visual": 58.1, "audio_visual": 70.0}}
    assert complaints("lwf", "0", near, FIGURE) == []


def test_trap_12_a_figure_that_fell_is_told():
    fallen = {**FIGURE, "last": {**FIGURE["last"], "audio_visual": 55.0}}
    figure, remedy = complaints("lwf", "48", fallen, FIGURE)
    assert figure.startswith(
        "last audio_visual accuracy of lwf at memory 48 is 55.0, 70.0 was recorded"
    )
    assert remedy == (
        "once the change is understood, refresh it by: python benchmarks/expected.py --methods lwf"
    )


@pytest.mark.parametrize("key", RECORD["figures"])
def test_trap_12_a_figure_was_made_at_a_commit_of_the_history(key):
    code = RECORD["figures"][key]["code"]
    in_history = script("publish").is_in_history(code["commit"])
    if in_history is None:
        pytest.skip("the history is not available here")
    assert in_history
    assert code["dirty"] is False
