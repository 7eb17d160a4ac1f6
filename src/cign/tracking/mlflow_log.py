"""The logger ``mlflow``: a run on an MLflow tracking server or in a local store."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.tracking.named_values import Remote, costs
from cign.tracking.registry import CALLBACKS, need
from cign.training.callbacks import RunStart
from cign.utils.files import read_json, write_json
from cign.utils.options import leaves

FILE = Path("log") / "mlflow.json"
_LONGEST = 500  # characters of a parameter that every server takes
_MOST_PARAMS = 100  # of one request
# A server that cannot be reached must not hold up the run for minutes.
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


class MlflowLog(Remote):
    """Logs to MLflow: parameters, losses, metrics of each task, costs, ``metrics.json``.

    Where: ``MLFLOW_TRACKING_URI``, or else MLflow's default. The experiment is
    ``MLFLOW_EXPERIMENT_NAME``, or else ``cign``. A resumed run continues its MLflow run, whose id
    is in ``log/mlflow.json`` of the run folder.

    Args:
        tracking_uri: Server or store, instead of the environment variable.
        experiment: Name of the experiment, likewise.

    Raises:
        InputError: If the package mlflow is not installed.
    """

    def __init__(self, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        need("mlflow", "mlflow")
        self._uri, self._experiment = tracking_uri, experiment
        self._client: Any = None
        self._id = ""
        self.sent = {}

    def on_run_start(self, run: RunStart) -> None:
        """Create the MLflow run, or find that of the resumed run."""
        for name, value in _PATIENCE.items():
            os.environ.setdefault(name, value)
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=self._uri)
        record = None if run.folder is None else run.folder / FILE
        if run.resumed and record is not None and record.exists():
            self._id = str(read_json(record, "record of the MLflow run")["run_id"])
            self._client.update_run(self._id, status="RUNNING")
            self.sent = self._known()
            return
        tags = {"cign.group": run.group} if run.group else {}
        created = self._client.create_run(self._experiment_id(), run_name=run.name, tags=tags)
        self._id = created.info.run_id
        if record is not None:
            write_json(record, {"run_id": self._id})
        values = {**leaves(run.config), "num_train": run.num_train, "num_test": run.num_test}
        params = [Param(name, str(value)[:_LONGEST]) for name, value in values.items()]
        for begin in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[begin : begin + _MOST_PARAMS])

    def send(self, axis: str, number: int, values: Mapping[str, float]) -> None:
        """Send values with the number as MLflow's step."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, float(value), now, number) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def on_run_end(self, metrics: Mapping[str, Any]) -> None:
        """Log costs and ``metrics.json`` and end the MLflow run."""
        number = len(metrics["tasks"])
        if number > self.sent.get("cost", 0):
            self.send("cost", number, costs(metrics))
            self._client.log_dict(self._id, dict(metrics), "metrics.json")
        self._client.set_terminated(self._id, "FINISHED")

    def on_failure(self, error: BaseException) -> None:
        """End the MLflow run as killed or failed."""
        stopped = isinstance(error, KeyboardInterrupt)
        self._client.set_terminated(self._id, "KILLED" if stopped else "FAILED")

    def _experiment_id(self) -> str:
        """The experiment, which is created if it is new.

        Raises:
            InputError: If it was deleted.
        """
        name = self._experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "cign"
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return str(self._client.create_experiment(name))
        if found.lifecycle_stage != "active":
            raise InputError(
                "bad-value", f"MLflow experiment {name!r} was deleted: restore it or name another"
            )
        return str(found.experiment_id)

    def _known(self) -> dict[str, int]:
        """The last number of each axis that the store has."""
        sent: dict[str, int] = {}
        axes = {"loss": "step", "learning_rate": "step", "epoch_loss": "epoch", "task": "task"}
        for name in self._client.get_run(self._id).data.metrics:
            group = name.partition("/")[0]
            axis = axes.get(group, group)
            history = self._client.get_metric_history(self._id, name)
            sent[axis] = max(sent.get(axis, 0), *(one.step for one in history))
        return sent


CALLBACKS.register("mlflow", MlflowLog)
