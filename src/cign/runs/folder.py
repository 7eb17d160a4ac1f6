"""A RUN folder while a loop writes to it: held by one process, begun or gone on with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cign.data.store import Store
from cign.runs.branching import STATES, keep_state
from cign.runs.build import resume_loop
from cign.runs.configuration import RunConfig, refuse_begun
from cign.runs.record import write_metrics
from cign.training.distributed.processes import current
from cign.training.loop import Loop
from cign.utils.leftovers import held_folder


@contextlib.contextmanager
def run_folder(
    folder: Path,
    config: RunConfig,
    loop: Loop,
    store: Store,
    tested: Store | None,
    *,
    resume: bool,
    keep_tasks: bool = False,
) -> Iterator[None]:
    """Hold a RUN folder and have a loop keep its state there.

    Of several processes the first one holds it and writes; the others only read what they resume.

    Args:
        folder: The RUN.
        config: Of the run.
        loop: Set to where the run stands, and to save there.
        store: What is learned from.
        tested: Another store whose test clips are scored, if any.
        resume: Go on with the run there.
        keep_tasks: Keep the state after each task, for runs that branch from it.

    Raises:
        InputError: If another run holds the folder, or it was begun on other stores.
    """
    comm = current()
    with contextlib.ExitStack() as held:
        with comm.agreeing():
            if comm.is_first:
                held.enter_context(held_folder(folder, "run folder"))
                if not resume:
                    refuse_begun(folder)  # again: another process may have been first
            loop.checkpoint = folder / "checkpoint.safetensors"
            loop.predictions_path = folder / "predictions.parquet"
            if resume:
                resume_loop(loop, folder, store, tested)
        if not comm.is_first:
            loop.checkpoint = loop.predictions_path = None
            yield
            return
        if keep_tasks:
            (folder / STATES).mkdir(exist_ok=True)
        if config.branched_from and not resume:
            loop.save()
            loop.predictions.save(loop.predictions_path)
        if not (resume and (folder / "metrics.json").exists()):
            write_metrics(folder, config, loop, store, tested)
        if not resume:
            config.save(folder)  # the last of all: a folder without it holds no run

        def after_task() -> None:
            write_metrics(folder, config, loop, store, tested)
            keep_state(folder, loop)

        loop.after_task = after_task
        yield
