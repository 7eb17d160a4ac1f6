"""A small model and its file, made once."""

import pytest

from cign.export.exporting import export_model
from data.conftest import media  # noqa: F401
from odd_media import OddMedia

from .toys import ToyBackbone, toy_model


@pytest.fixture(scope="session")
def toy_export(tmp_path_factory):
    """A closed-form model and where its ONNX file lies."""
    for name in ("onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason="needs the extra export")
    model, out = toy_model("analytic"), tmp_path_factory.mktemp("toy") / "out"
    return model, export_model(model, ToyBackbone(), out)


@pytest.fixture(scope="session")
def odd(tmp_path_factory):
    """Gives a file of `odd_media` by name."""
    return OddMedia(tmp_path_factory.mktemp("odd"))
