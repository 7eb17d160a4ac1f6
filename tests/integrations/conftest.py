"""A small model, its clips, and projects of Label Studio that use them."""

import shutil
import subprocess

import pytest

from cign.learner import Learner
from commands.adding import OPTIONS, old_store, rows, tables  # noqa: F401

from .projects import Studio, choices, interface, timeline


@pytest.fixture(scope="session")
def trained(old_store, tmp_path_factory):  # noqa: F811
    """A MODEL of three classes."""
    run = tmp_path_factory.mktemp("trained") / "run"
    Learner("cign_analytic", options=OPTIONS["cign_analytic"]).learn(old_store, tasks=1, out=run)
    return run / "model"


@pytest.fixture
def runs_model(trained):
    """A model that belongs to a run."""
    return trained


@pytest.fixture
def model(trained, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(trained, tmp_path / "model")


@pytest.fixture(scope="session")
def classes(rows):  # noqa: F811
    """The classes of the clips; the model does not know the last one."""
    return rows[1]


@pytest.fixture(scope="session")
def clips(tiny):
    """Clips of each class, which the model has not learned."""
    root = tiny[0]
    found = {}
    for path in sorted((root / "test").rglob("*.mp4")):
        found.setdefault(path.parent.name, []).append(path.relative_to(root).as_posix())
    return found


@pytest.fixture(scope="session")
def long_clip(tiny, rows):  # noqa: F811
    """A video of 8 s below the folder of the clips: of one class, then of another."""
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    root = tiny[0]
    names = [name for name in rows[1][:2] for _ in range(4)]
    listed = [root / "train" / name / f"000{n % 4}.mp4" for n, name in enumerate(names)]
    (root / "long.txt").write_text("".join(f"file '{path}'\n" for path in listed))
    command = [ffmpeg, "-v", "error", "-f", "concat", "-safe", "0", "-i", root / "long.txt"]
    subprocess.run([*command, "-c", "copy", root / "long.mp4"], check=True)
    return "long.mp4"


@pytest.fixture
def root(tiny):
    """The folder of the clips."""
    return tiny[0]


@pytest.fixture
def config(classes):
    """A labelling interface for whole videos and parts of them."""
    return interface(choices(classes), timeline(classes), rate=10)


@pytest.fixture
def studio(model, root, tmp_path):
    """A backend that learns."""
    with Studio(model, root, tmp_path / "work") as made:
        yield made
