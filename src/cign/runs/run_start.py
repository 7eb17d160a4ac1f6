"""The description of a run that callbacks receive before its first step."""

from __future__ import annotations

from pathlib import Path

from cign.runs.configuration import RunConfig
from cign.training.callbacks import RunStart
from cign.training.loop import Loop


def run_start(
    config: RunConfig, loop: Loop, folder: Path | None, *, resumed: bool, group: str = ""
) -> RunStart:
    """Describe a run whose loop is built and, if it is resumed, has loaded its checkpoint.

    Args:
        config: Its configuration.
        loop: Its training loop.
        folder: The run folder, if any.
        resumed: Whether it resumes from the checkpoint in the folder.
        group: Name of the bench that it belongs to.
    """
    return RunStart(
        name=config.method if folder is None else folder.resolve().name,
        folder=folder,
        group=group,
        config=config.flat(),
        classes=loop.clips.tasks.class_order,
        num_tasks=loop.clips.tasks.num_tasks,
        num_train=len(loop.train),
        num_test=len(loop.test),
        resumed=resumed,
        steps_done=loop.num_steps,
        epochs_done=len(loop.losses),
        tasks_done=loop.place.task,
    )
