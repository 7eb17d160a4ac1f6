"""The logger ``wandb``: a run of Weights & Biases, online or offline."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cign.tracking.named_values import Remote, costs
from cign.tracking.registry import CALLBACKS, need
from cign.training.callbacks import RunStart
from cign.utils.files import read_json, replacing

FILE = Path("log") / "wandb.json"


class WandbLog(Remote):
    """Logs to Weights & Biases: configuration, losses, metrics of each task, costs.

    ``WANDB_MODE=offline`` writes to the run folder, from where ``wandb sync`` uploads. The project
    is ``WANDB_PROJECT``, or else ``cign``. The axes are ``step``, ``epoch`` and ``task``. A resumed
    run continues the same W&B run, whose id is in ``log/wandb.json`` of the run folder.

    Args:
        project: Project, instead of the environment variable.
        mode: ``online``, ``offline`` or ``disabled``, likewise.

    Raises:
        InputError: If the package wandb is not installed.
    """

    def __init__(self, project: str | None = None, mode: str | None = None) -> None:
        need("wandb", "wandb")
        self._project = project
        self._mode: Any = mode
        self._run: Any = None
        self._id = ""
        self._record: Path | None = None
        self.sent = {}

    def on_run_start(self, run: RunStart) -> None:
        """Start the W&B run, or go on with that of the resumed run."""
        import wandb

        self._record = None if run.folder is None else run.folder / FILE
        self._id = secrets.token_hex(4)
        if run.resumed and self._record is not None and self._record.exists():
            known = read_json(self._record, "record of the W&B run")
            self._id, self.sent = str(known["id"]), dict(known["sent"])
        self._run = wandb.init(
            project=self._project or os.environ.get("WANDB_PROJECT") or "cign",
            id=self._id,
            name=run.name,
            group=run.group or None,
            dir=None if run.folder is None else str(run.folder),
            config={**run.config, "num_train": run.num_train, "num_test": run.num_test},
            mode=self._mode,
            resume="allow" if run.resumed else None,
            settings=wandb.Settings(silent=True, console="off"),
        )
        for names, axis in (
            (("loss/*", "learning_rate"), "step"),
            (("epoch_loss/*",), "epoch"),
            (("task/*",), "task"),
        ):
            self._run.define_metric(axis, hidden=True)
            for name in names:
                self._run.define_metric(name, step_metric=axis)
        self._remember()

    def send(self, axis: str, number: int, values: Mapping[str, float]) -> None:
        """Send values with the number of their axis."""
        self._run.log({axis: number, **values})

    def on_run_end(self, metrics: Mapping[str, Any]) -> None:
        """Add the costs to the summary and end the W&B run."""
        self._run.summary.update(costs(metrics))
        self._run.finish()

    def on_failure(self, error: BaseException) -> None:
        """End the W&B run as failed."""
        if self._run is not None:
            self._run.finish(exit_code=1)

    def write(self, axis: str, number: int, values: Mapping[str, float]) -> None:
        """Send values unless the service has them, and record what it has."""
        super().write(axis, number, values)
        self._remember()

    def _remember(self) -> None:
        """Record what was sent, so that a resumed run does not send it again."""
        if self._record is None:
            return
        with replacing(self._record, flush=False) as temporary:
            temporary.write_text(json.dumps({"id": self._id, "sent": self.sent}))


CALLBACKS.register("wandb", WandbLog)
