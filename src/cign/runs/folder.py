"""A RUN folder during training: locked by one process, started or resumed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from cign.errors import InputError
from cign.runs.branching import STATES, keep_state
from cign.runs.build import resume_loop
from cign.runs.configuration import FILE, RunConfig
from cign.runs.record import write_metrics
from cign.runs.training_data import TrainingData
from cign.training.distributed.processes import current
from cign.training.loop import Loop
from cign.utils.code_version import CodeVersion
from cign.utils.leftovers import held_folder


@contextlib.contextmanager
def run_folder(
    folder: Path,
    config: RunConfig,
    loop: Loop,
    data: TrainingData,
    *,
    code: Sequence[CodeVersion],
    resume: bool,
    keep_tasks: bool = False,
) -> Iterator[None]:
    """Lock a RUN folder and make a loop save its state there.

    With several processes rank 0 locks and writes; the others only read the state they resume.

    Args:
        folder: The RUN folder.
        config: Configuration of the run.
        loop: The training loop; it is set to the saved position and saves to the folder.
        data: The data of the run.
        code: Versions of the code that the run is made with.
        resume: Resume the run in the folder.
        keep_tasks: Save the state after each task, for runs that branch from it.

    Raises:
        InputError: If another process uses the folder, or the run was started on other stores.
    """
    comm = current()
    with contextlib.ExitStack() as held:
        with comm.agreeing():
            if comm.is_first:
                held.enter_context(held_folder(folder, "run folder"))
                if not resume:
                    refuse_begun(folder)  # again: another process may have started a run since
            loop.checkpoint = folder / "checkpoint.safetensors"
            loop.predictions_path = folder / "predictions.parquet"
            if resume:
                resume_loop(loop, folder, data)
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
            write_metrics(folder, config, loop, data, code=code)
        if not resume:
            config.save(folder)  # written last: a folder without it is not a run

        def after_task() -> None:
            write_metrics(folder, config, loop, data, code=code)
            keep_state(folder, loop)

        loop.after_task = after_task
        yield


def refuse_begun(folder: Path) -> None:
    """Refuse a folder that already contains a run.

    Raises:
        InputError: If it contains one.
    """
    if (folder / FILE).exists():
        raise InputError(
            "bad-output",
            f"{folder} already contains a run: resume it with --resume or name another folder",
        )
