"""Small networks of transformers, made once."""

import pytest

from cign.backbones.registry import load_backbone
from networks import make_network


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Where the networks lie."""
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def pair(root):
    """Load a pair of kinds, once."""
    loaded = {}

    def load(visual, audio):
        if (visual, audio) not in loaded:
            halves = (make_network(root, visual), make_network(root, audio))
            loaded[visual, audio] = load_backbone("+".join(map(str, halves)))
        return loaded[visual, audio]

    return load
