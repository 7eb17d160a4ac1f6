"""Parts of a computation with a model: in this process, or as calls on a Ray cluster.

Both engines run the same parts with the same batches, so that the results are equal. On a cluster
each machine receives the model once; it needs no access to the model's folder, but to the stores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from cign.data.located import Located, StoreArrays
from cign.errors import InputError
from cign.inference.sources import check_located
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.model import Model
from cign.utils.cluster import call_all, check_engine, connected, most_cpus, num_cpus
from cign.utils.progress import Progress, Silent

Files = dict[str, NDArray[np.uint8]]


class Part(Protocol):
    """A part of a computation, with plain values so that it can be sent to another machine."""

    @property
    def num_clips(self) -> int:
        """Number of its clips, for the progress."""

    def run(self, model: Model, progress: Progress) -> Any:
        """Compute its result.

        Args:
            model: The model.
            progress: Advanced for each clip.
        """


class Engine(Protocol):
    """Runs parts."""

    @property
    def is_remote(self) -> bool:
        """Whether other processes run the parts, so that they have to read their clips."""

    @property
    def checked(self) -> set[StoreArrays]:
        """Stores whose tokens have been compared with their checksums."""

    def run(self, parts: Iterable[Part], progress: Progress) -> Iterator[tuple[int, Any]]:
        """Run parts, of which only a few are held in memory.

        Yields:
            The number of each part and its result, in order of completion.
        """


@dataclass(frozen=True)
class Here:
    """Runs parts in this process, in their order."""

    model: Model
    is_remote: bool = False
    checked: set[StoreArrays] = field(default_factory=set)

    def run(self, parts: Iterable[Part], progress: Progress) -> Iterator[tuple[int, Any]]:
        """See `Engine`."""
        for number, part in enumerate(parts):
            yield number, part.run(self.model, progress)


@dataclass(frozen=True, kw_only=True)
class OnCluster:
    """Runs parts on a Ray cluster.

    Attributes:
        ray: The connection.
        files: The files of the model.
        threads: Threads of each call.
        limit: Maximum number of concurrent calls.
        checked: See `Engine`.
    """

    ray: Any
    files: Files
    threads: int
    limit: int
    is_remote: bool = True
    checked: set[StoreArrays] = field(default_factory=set)

    def run(self, parts: Iterable[Part], progress: Progress) -> Iterator[tuple[int, Any]]:
        """See `Engine`.

        Raises:
            RunError: If a call fails, or its process dies repeatedly.
        """
        sizes = dict[int, int]()

        def calls() -> Iterator[tuple[Part, int]]:
            for number, part in enumerate(parts):
                sizes[number] = part.num_clips
                yield part, self.threads

        how: dict[str, Any] = {"limit": self.limit, "cpus": self.threads, "common": self.files}
        for number, _, result in call_all(self.ray, run_part, calls(), **how):
            progress.advance(sizes.pop(number))
            yield number, result


@contextmanager
def engine_of(name: str, model: Model, num_workers: int | None = None) -> Iterator[Engine]:
    """The engine of a name.

    Args:
        name: ``local`` or ``ray``.
        model: The model.
        num_workers: Maximum number of concurrent calls on a cluster; None for as many as it has
            processors for.

    Raises:
        InputError: If there is no such engine, Ray is missing, or the model is not on the CPU,
            which computes on a cluster.
        RunError: If the cluster cannot be reached.
    """
    check_engine(name, num_workers)
    if name == "local":
        yield Here(model)
        return
    if model.device.type != "cpu":
        raise InputError(
            "conflicting-options",
            f"the model is on device {model.device}, but the machines of a cluster compute on "
            "their CPUs: use --device cpu, or --engine local",
        )
    with connected() as ray:
        # As many threads as here, because sums in another number of threads are rounded otherwise.
        threads = min(torch.get_num_threads(), most_cpus(ray))
        limit = num_workers or max(1, num_cpus(ray) // threads)
        yield OnCluster(ray=ray, files=_files_of(model), threads=threads, limit=limit)


def _files_of(model: Model) -> Files:
    """The files of a model in memory."""
    with tempfile.TemporaryDirectory(prefix="cign-model-") as name:
        save_model(model, Path(name))
        return {
            path.name: np.frombuffer(path.read_bytes(), np.uint8) for path in Path(name).iterdir()
        }


def run_checked(
    engine: Engine, located: Located, parts: Iterable[Part], progress: Progress
) -> Iterator[tuple[int, Any]]:
    """Run parts, and beside them compare cached tokens with their checksums, once an engine.

    Args:
        engine: The engine.
        located: The stores of the clips; those of tokens are checked.
        parts: The parts.
        progress: Advanced for each clip.

    Yields:
        The number of each part and its result, in order of completion.

    Raises:
        InputError: If tokens were changed, perhaps only after all results.
    """
    new = [one for one in located.stores if one.backbone and one not in engine.checked]
    engine.checked.update(new)
    checks = [CheckedTokens(one) for one in new]
    for number, result in engine.run(chain(checks, parts), progress):
        if number >= len(checks):
            yield number - len(checks), result


@dataclass(frozen=True)
class CheckedTokens:
    """A comparison of cached tokens with their checksums.

    Attributes:
        arrays: The tokens of a store.
    """

    arrays: StoreArrays
    num_clips: int = 0

    def run(self, model: Model, progress: Progress) -> None:
        """Compare.

        Raises:
            InputError: If they were changed.
            RunError: If this machine cannot read them.
        """
        check_located(self.arrays)


# ---------------------------------------------------------------------- in the worker

_loaded: list[tuple[bytes, Model]] = []


def run_part(files: Files, part: Part, threads: int) -> Any:
    """Run a part on this machine.

    Args:
        files: The files of the model; a process that has run a part of the same model keeps it.
        part: The part.
        threads: Threads of numerical libraries.
    """
    torch.set_num_threads(threads)
    return part.run(_model_of(files), Silent())


def _model_of(files: Files) -> Model:
    key = files["model.json"].tobytes()  # with the checksums of the others
    if not _loaded or _loaded[0][0] != key:
        _loaded.clear()
        with tempfile.TemporaryDirectory(prefix="cign-model-") as name:
            for file, content in files.items():
                (Path(name) / file).write_bytes(content.data)
            _loaded.append((key, load_model(Path(name))))
    return _loaded[0][1]
