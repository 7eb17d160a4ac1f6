"""A model of the small corpus, and a server that only reads it."""

import os
import shutil

import pytest
import torch

from cign.learner import Learner
from toy import FIXED

from .client import running


@pytest.fixture(scope="session")
def trained(tiny, tmp_path_factory):
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("served") / "run"
    options = {**FIXED["cign_analytic"], "width": 60, "ridge": [5.0]}
    Learner("cign_analytic", options=options).learn(tiny[1], tasks=2, out=run)
    return run


@pytest.fixture(scope="session")
def learner(trained):
    return Learner.load(trained)


@pytest.fixture(scope="session")
def clips(tiny):
    return sorted((tiny[0] / "test").rglob("*.mp4"))


@pytest.fixture
def model(trained, tmp_path):
    return shutil.copytree(trained / "model", tmp_path / "model")


# Not of the session: tests elsewhere replace `time.monotonic`, on which its event loop relies.
@pytest.fixture(scope="package")
def server(trained):
    with running(trained, timeout_s=20.0, max_upload=4 * 2**20) as client:
        yield client
