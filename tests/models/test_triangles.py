"""Symmetric matrices of a saved model: half the bytes, and the same model."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cign.learner import Learner
from cign.networks.token_ridge import TRIANGULAR
from cign.networks.triangles import packed, unpacked


@pytest.mark.parametrize("width", [1, 2, 7, 40])
def test_a_matrix_comes_back_as_its_lower_triangle(width):
    matrix = torch.randn(width, width, dtype=torch.float64)
    state = {"audio.statistics.0.whole_gram": matrix, "weights": matrix}
    small = packed(state)
    assert small["audio.statistics.0.whole_gram"].shape == (width * (width + 1) // 2,)
    found = unpacked(small)
    assert torch.equal(found["audio.statistics.0.whole_gram"], matrix.tril())
    assert torch.equal(found["weights"], matrix)
    rows, columns = np.tril_indices(width)
    expected = matrix.numpy()[rows, columns]  # NumPy's order of the lower triangle
    assert np.array_equal(small["audio.statistics.0.whole_gram"].numpy(), expected)


def test_an_array_that_is_no_triangle_stays_as_it_is():
    state = {"whole_gram": torch.zeros(4)}  # triangles have 1, 3, 6, 10, ... entries
    assert unpacked(state)["whole_gram"].shape == (4,)


@pytest.fixture
def learner(tiny):
    return Learner("cign_analytic", options={"width": 30}).learn(tiny[1], tasks=2)


def test_a_saved_model_has_triangles_and_predicts_the_same(learner, tiny, tmp_path):
    learner.save(tmp_path / "model")
    state = load_file(tmp_path / "model" / "model.safetensors")
    sums = [name for name in state if name.rpartition(".")[2] in TRIANGULAR]
    assert sums
    assert all(state[name].shape == (30 * 31 // 2,) for name in sums)
    again = Learner.load(tmp_path / "model")
    for one, other in zip(learner.predict(tiny[1]), again.predict(tiny[1]), strict=True):
        assert one == other
    again.save(tmp_path / "again")
    first, second = (tmp_path / name / "model.safetensors" for name in ("model", "again"))
    assert first.read_bytes() == second.read_bytes()


def test_a_model_with_full_matrices_is_read(learner, tiny, tmp_path, rewritten):
    """As the format before this one has them."""
    place = tmp_path / "model"
    learner.save(place)
    full = {name: value.contiguous() for name, value in unpacked_file(place).items()}
    save_file(full, place / "model.safetensors")
    rewritten(place, format=6)
    again = Learner.load(place)
    assert list(again.predict(tiny[1])) == list(learner.predict(tiny[1]))


def unpacked_file(place):
    return unpacked(load_file(place / "model.safetensors"))


@pytest.fixture
def rewritten():
    """Changes entries of the description of a model, and its checksum."""
    import hashlib
    import json

    def change(place, **entries):
        path = place / "model.json"
        about = {**json.loads(path.read_text()), **entries}
        data = (place / "model.safetensors").read_bytes()
        about["checksums"]["model.safetensors"] = hashlib.sha256(data).hexdigest()
        path.write_text(json.dumps(about))

    return change
