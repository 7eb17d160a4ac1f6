"""Execute the example notebooks and store their outputs.

    python tools/notebooks.py [NAME...]     # default: all notebooks in examples/notebooks

Each notebook runs in a copy of `examples`, so that no file of the checkout changes but the notebook
itself. Times of execution and versions are removed, because they differ from run to run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parent.parent / "examples"
TIMEOUT_S = 600  # of a cell


def execute(name: str, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook in a copy of the examples.

    Args:
        name: Name of the notebook, without the suffix.
        folder: A new folder for the copy.

    Returns:
        The notebook with its outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    shutil.copytree(EXAMPLES, folder, ignore=shutil.ignore_patterns("work", "__pycache__"))
    at = folder / "notebooks"
    notebook = nbformat.read(at / f"{name}.ipynb", as_version=4)
    # Without these the kernel warns of its folders and of its debugger.
    os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    client = NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(at)}})
    client.execute()
    return cleaned(notebook)


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove times of execution and versions, in place."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": kernel, "language_info": {"name": "python"}}
    )
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({})
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", metavar="NAME", nargs="*")
    names = parser.parse_args().names or [
        path.stem for path in sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
    ]
    for name in names:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(name, Path(folder) / "examples")
        nbformat.write(notebook, EXAMPLES / "notebooks" / f"{name}.ipynb")
        print(f"{name}: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
