"""Fixtures shared by all tests."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Folders of a rendered corpus and its store with tokens of random small encoders."""
    from cign.backbones.registry import load_backbone
    from cign.data.prepare.pipeline import prepare
    from cign.synthetic import SynthConfig, synthesize

    root = tmp_path_factory.mktemp("tiny")
    config = SynthConfig(num_classes=4, num_train=6, num_val=2, num_test=3, duration_s=1.0)
    synthesize(root / "clips", config, num_workers=1)
    prepare(root / "clips", root / "store", backbone=load_backbone("small-random"), num_workers=0)
    return root / "clips", root / "store"


@pytest.fixture
def cign(capsys):
    """Run a command; gives exit code, standard output and standard error."""
    from cign.cli.entry_point import main

    def run(*arguments):
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run
