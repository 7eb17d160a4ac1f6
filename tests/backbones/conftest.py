"""Wheels of the packaged encoders, rebuilt from the installed packages."""

import importlib.util
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from cign.backbones.packaged.packages import PACKAGED, both_installed


@pytest.fixture
def packages():
    """Skips where the packages that ship the weights are missing; `make install` brings them."""
    if not both_installed():
        pytest.skip("the packages of lite0 and sfx are not installed")


@pytest.fixture
def onnx():
    """Skips where onnx or onnxruntime is missing."""
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    return pytest.importorskip("onnx")


@pytest.fixture
def make_wheel(packages, tmp_path):
    """Write a wheel of an installed package, with changes."""

    def make(name, *, version=None, change=None, distribution=None, drop=None):
        file = PACKAGED[name]
        installed = metadata.distribution(file.distribution)
        path = tmp_path / f"{name}-{version or file.version}-py3-none-any.whl"
        about = f"{distribution or file.distribution}-{file.version}.dist-info"
        with zipfile.ZipFile(path, "w") as archive:
            for member in {file.member, file.licence} - {drop}:
                data = bytearray(Path(str(installed.locate_file(member))).read_bytes())
                if change == member:
                    data[len(data) // 2] ^= 1
                archive.writestr(member, bytes(data))
            archive.writestr(
                f"{about}/METADATA",
                f"Metadata-Version: 2.1\nName: {distribution or file.distribution}\n"
                f"Version: {version or file.version}\n\nName: of a description\n",
            )
        return path

    return make
