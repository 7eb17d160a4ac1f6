"""Shared by the report's tests."""

import pytest

from .runs_on_paper import draw_predictions, write_run


@pytest.fixture(scope="session")
def three_runs(tmp_path_factory):
    """Folders of finetune, cign_analytic and joint on the same clips."""
    root = tmp_path_factory.mktemp("runs")
    settings = {"finetune": (2.0, 1.5), "cign_analytic": (3.0, 0.1), "joint": (3.0, 0.0)}
    for seed, (method, (skill, decay)) in enumerate(settings.items()):
        predictions = draw_predictions(skill=skill, decay=decay, seed=seed)
        write_run(root / method, method, predictions=predictions)
    return [root / method for method in settings]
