"""The runtime that computed tokens is recorded; an unfinished cache is continued by the same."""

import json
import shutil

import numpy as np
import pytest

from cign.backbones.registry import load_backbone
from cign.data.prepare.token_making import make_tokens
from cign.data.store import Store


@pytest.mark.parametrize(("runtime", "continued"), [("torch", True), ("onnxruntime", False)])
def test_tokens_of_two_runtimes_are_not_mixed(tiny, tmp_path, runtime, continued):
    folder = tmp_path / "store"
    shutil.copytree(tiny[1], folder)
    place = folder / "tokens" / "small-random"
    info = json.loads((place / "tokens.json").read_text())
    assert info["runtime"] == "torch"
    (place / "tokens.json").unlink()
    unfinished = {**info, "runtime": runtime, "batch_size": 32, "num_done": 32}
    (place / "partial.json").write_text(json.dumps(unfinished))
    wanted = Store.open(tiny[1]).tokens("small-random").audio(slice(None))
    values = np.lib.format.open_memmap(place / "audio.npy", mode="r+")
    values[:] = 0
    values.flush()
    store = Store.open(folder)
    tokens = make_tokens(store, load_backbone("small-random"))
    again = (tokens.audio(slice(None)) == wanted).all(axis=(1, 2))
    assert again[32:].all()
    assert again[:32].all() != continued
