"""A method that was saved as a model and loaded again gives the same answers."""

import dataclasses

import numpy as np
import pytest
import torch

from cign.data.media.decode import MediaSpec
from cign.errors import InputError
from cign.learner import Learner
from cign.methods import METHODS
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.model import Model
from cign.training.scoring import score_clips
from test_resume import OPTIONS
from toy import toy_loop

NAMES = [name for name in OPTIONS if name not in ("l2p", "dualprompt")]  # these need blocks


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_answers_as_before(name, tmp_path):
    torch.set_num_threads(1)
    loop = toy_loop(name, options=OPTIONS[name], memory="12")
    loop.run()
    save_model(
        Model(
            method=loop.method,
            groups=loop.clips.tasks.groups,
            regime="frozen",
            backbone="small",
            fingerprint="",
            spec=MediaSpec(),
        ),
        tmp_path,
    )
    again = load_model(tmp_path).method
    assert dataclasses.asdict(again.options) == dataclasses.asdict(loop.method.options)
    scores = score_clips(again, loop.source, loop.test)
    for modality, expected in loop.predictions.scores[-1].items():
        np.testing.assert_array_equal(scores[modality], expected)


@pytest.mark.parametrize("name", [n for n, method in METHODS.items() if method.needs_memory])
def test_without_a_memory_it_is_refused_before_the_run_begins(name, tiny, tmp_path):
    message = f"method {name} needs exemplars: give --memory, for example 120"
    with pytest.raises(InputError, match=message):
        Learner(name).learn(tiny[1], tasks=2, out=tmp_path / "run")
    assert not list((tmp_path / "run").glob("config.yaml"))
