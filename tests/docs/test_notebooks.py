"""The example notebooks run, and what they show was written by running them."""

import itertools
import os
import re
from pathlib import Path

import pytest

from benchmark_scripts import tool

nbformat = pytest.importorskip("nbformat", reason="needs the extra dev")
pytest.importorskip("nbclient", reason="needs the extra dev")
notebooks = tool("notebooks")

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "examples" / "notebooks").glob("*.ipynb"))


def stored(name):
    return nbformat.read(ROOT / "examples" / "notebooks" / f"{name}.ipynb", as_version=4)


def kinds(notebook):
    """The kinds of output of each cell; a text may arrive in several parts."""
    found = []
    for cell in notebook.cells:
        names = [output.get("name", output.output_type) for output in cell.get("outputs", [])]
        found.append([name for name, _ in itertools.groupby(names)])
    return found


@pytest.fixture(autouse=True)
def _of_this_checkout(monkeypatch):
    """The kernel imports the package that is tested."""
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))


def test_there_are_three():
    assert NAMES == ["own_clips", "own_method", "quick_start"]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_shows_what_is_stored(name, tmp_path, monkeypatch):
    monkeypatch.delenv("CIGN_REAL", raising=False)
    made = notebooks.execute(name, tmp_path / "examples")  # a cell that fails is an error
    assert kinds(made) == kinds(stored(name))
    work = tmp_path / "examples" / "notebooks" / "work" / name
    assert work.is_dir()  # what it writes is below `work`, which git ignores
    assert sorted(p.name for p in work.parents[1].iterdir() if p.suffix != ".ipynb") == ["work"]


@pytest.mark.skipif("CIGN_REAL" not in os.environ, reason="CIGN_REAL names no real recordings")
def test_own_clips_are_recognised_in_real_recordings(tmp_path):
    made = notebooks.execute("own_clips", tmp_path / "examples")
    text = "".join(
        output.get("text", "") for cell in made.cells for output in cell.get("outputs", [])
    )
    assert "added:" in text
    added = text.rpartition("added:")[2]
    rows = re.findall(r"^rooster_\d\.mp4 +(\w+)", added, re.M)
    assert rows == ["rooster", "rooster"]


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_notebook_is_clean(name):
    notebook = stored(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not {"stderr", "error"} & {kind for cell in kinds(notebook) for kind in cell}
    assert (ROOT / "examples" / "notebooks" / f"{name}.ipynb").stat().st_size < 100_000
    text = (ROOT / "examples" / "notebooks" / f"{name}.ipynb").read_text()
    assert not re.search(r"/(tmp|home|root)/", text)  # no path of one machine
    for cell in notebook.cells:
        assert max(map(len, cell.source.splitlines())) <= 120
