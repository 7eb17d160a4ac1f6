"""Times against other implementations: what is measured, and what is said where one is missing."""

import numpy as np
import pytest

from benchmark_scripts import script


@pytest.fixture
def peers(monkeypatch):
    """The script with little work."""
    module = script("peers")
    for name, value in {
        "NUM_EPOCHS": 2,
        "ROUNDS": 2,
        "WIDTH": 40,
        "PER_CLASS": 8,
        "DIM": 6,
    }.items():
        monkeypatch.setattr(module, name, value)
    return module


def test_a_missing_implementation_is_named_and_its_work_is_not_done(peers, monkeypatch):
    monkeypatch.setattr(peers, "our_steps", lambda *_: pytest.fail("work without a comparison"))
    rows = [one.row() for one in peers.compare(None, None)]
    missing = [row for row in rows if row.endswith("| not installed |")]
    assert len(missing) == len(rows) - 4  # the equations of RanPAC need no installation
    for word in ("icarl", "lwf", "ewc", "bic", "herding", "Mammoth, three heads"):
        assert any(word in row for row in missing)
    text = peers.page(rows, ["PyCIL at 123abc"])
    assert "PyCIL at 123abc" in text
    assert text.count("not installed") == len(missing)


def test_the_ratio_is_theirs_by_ours(peers):
    found = peers.in_turns("steps", "theirs", lambda: 2.0, lambda: 3.0, 4)
    assert found.row() == "| steps | theirs | 500,000 | 750,000 | 1.50 (1.50 to 1.50) |"


@pytest.mark.parametrize("name", ["icarl", "lwf", "ewc", "bic"])
def test_our_steps_are_those_of_the_second_task(name, peers):
    clips = peers.Clips.drawn(peers.NUM_OLD + peers.NUM_NEW, peers.PER_CLASS)
    memory = "1/class" if name in ("icarl", "bic") else "0"
    assert peers.our_steps(clips, name, memory) > 0.0


def test_herding_is_that_of_the_memory(peers):
    assert peers.our_herding(peers.Clips.drawn(3, 8).both, 8, 2) > 0.0


def test_clips_of_a_modality_are_its_columns(peers):
    clips = peers.Clips.drawn(3, 8)
    assert clips.of("audio_visual").shape == (24, 12)
    assert np.array_equal(clips.of("audio"), clips.both[:, :6])
    assert np.array_equal(clips.of("visual"), clips.both[:, 6:])
