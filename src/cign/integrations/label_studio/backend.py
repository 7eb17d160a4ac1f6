"""The backend: what each request of Label Studio's protocol does, independent of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.integrations.label_studio.events import START_TRAINING, record, record_tasks
from cign.integrations.label_studio.interface import Interface, read_interface
from cign.integrations.label_studio.jobs import Jobs
from cign.integrations.label_studio.learning import AnnotationLearner
from cign.integrations.label_studio.ledger import Ledger
from cign.integrations.label_studio.media import MediaFiles
from cign.integrations.label_studio.names import match_names
from cign.integrations.label_studio.predicting import PredictionOptions, Predictor
from cign.integrations.label_studio.service import ServedModel, current_version
from cign.saved_model.files import read_about

MAX_TASKS = 1000
LEDGER = "annotations.sqlite"


class Backend:
    """Answers the requests of projects.

    Args:
        service: The model.
        media: Finds the recordings.
        options: How tasks are predicted.
        work: Folder for annotations; None if the model is not taught.
        learn_after: Learn when so many annotations have changed; None learns on request only.
        tell: Receives what was learned and what could not be, one sentence each.
    """

    def __init__(
        self,
        service: ServedModel,
        media: MediaFiles,
        options: PredictionOptions,
        *,
        work: Path | None = None,
        learn_after: int | None = None,
        tell: Callable[[str], None],
    ) -> None:
        self._service, self._tell, self._learn_after = service, tell, learn_after
        self._predictor = Predictor(service, media, options)
        self._told: set[str] = set()
        self._ledger: Ledger | None = None
        self._jobs: Jobs | None = None
        if work is not None:
            self._ledger = Ledger(work / LEDGER)
            learner = AnnotationLearner(service, self._ledger, media)
            self._jobs = Jobs(learner.learn, tell)

    def close(self) -> None:
        """Finish the running job and close the files."""
        if self._jobs is not None:
            self._jobs.stop()
        if self._ledger is not None:
            self._ledger.close()

    def health(self) -> dict[str, Any]:
        """Whether it runs; with teaching also the state of learning."""
        state: dict[str, Any] = {"status": "UP", "model_class": "cign"}
        if self._ledger is not None and self._jobs is not None:
            changed = len(self._ledger.changed())
            state["learning"] = {"annotations_to_learn": changed, "last_job": self._jobs.last()}
        return state

    def setup(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Check the labelling interface of a project; gives the version of the model.

        Raises:
            InputError: If the model cannot fill it.
        """
        interface = self._interface(body.get("schema"))
        project = body.get("project")
        if self._ledger is not None and isinstance(project, str):
            self._ledger.set_interface(project, str(body["schema"]))
        # Not from the model, which may be about to be reloaded: Label Studio waits three seconds.
        classes = [one["name"] for one in read_about(self._service.place)["classes"]]
        problems = list(interface.ignored)
        for control in interface.controls:
            names, name = match_names(control, classes), control.target.from_name
            if names.new:
                listed = ", ".join(names.new[:5]) + (", ..." if len(names.new) > 5 else "")
                problems.append(f"labels of {name!r} that the model does not know: {listed}")
            if names.unlabelled:
                problems.append(
                    f"classes without a label in {name!r}, which are not predicted: "
                    f"{len(names.unlabelled)} of {len(classes)}"
                )
        self._log_once(f"project {project}: {'; '.join(problems)}" if problems else "")
        return {"model_version": current_version(self._service.place), "problems": problems}

    def predict(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Predict the tasks of a request.

        Raises:
            InputError: If there is no list of tasks, or the model cannot fill the interface.
        """
        tasks = body.get("tasks")
        if not isinstance(tasks, list):
            raise InputError("bad-usage", "the request has no list of tasks: send one as 'tasks'")
        if len(tasks) > MAX_TASKS:
            raise InputError(
                "bad-value",
                f"the request has {len(tasks)} tasks: send at most {MAX_TASKS} at a time",
            )
        interface = self._interface(body.get("label_config"))
        results = self._predictor.predict(tasks, interface)
        for one in results:
            if "error" in one:
                self._tell(f"not predicted: {one['error']}")
        return {"results": results, "model_version": current_version(self._service.place)}

    def webhook(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Record an event; training, and enough changed annotations, request learning.

        Raises:
            InputError: If the event is not as Label Studio sends it, or training is requested and
                the model may not be changed.
        """
        action = body.get("action")
        if not isinstance(action, str):
            raise InputError("bad-usage", "the event has no action: send one as 'action'")
        if self._ledger is None:
            if action == START_TRAINING:
                self._teaching()
            return {"status": "ignored", "reason": "the backend runs without --teach"}
        changed = record(action, body, self._ledger)
        if changed is None:
            return {"status": "ignored", "reason": f"event {action} changes no annotation"}
        return self._answer(changed, requested=action == START_TRAINING)

    def train(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Learn from annotations that are sent, if any, and from all that were collected.

        Raises:
            InputError: If the model may not be changed, or the annotations are not as exports list
                them.
        """
        ledger = self._teaching()
        project, changed = body.get("project"), 0
        if isinstance(body.get("label_config"), str) and isinstance(project, str):
            ledger.set_interface(project, body["label_config"])
        if "annotations" in body:
            if not isinstance(project, str):
                raise InputError("bad-usage", "the request names no project: send one as 'project'")
            changed = record_tasks(body["annotations"], project, ledger)
        return self._answer(changed, requested=True)

    def job(self, name: object) -> dict[str, Any] | None:
        """State of a job; None if it is unknown."""
        return None if self._jobs is None else self._jobs.status(name)

    def is_training(self) -> dict[str, Any]:
        """Whether annotations are being learned."""
        running = self._jobs is not None and self._jobs.is_running
        return {"is_training": running, "model_version": current_version(self._service.place)}

    def versions(self) -> dict[str, Any]:
        """Name of the version in use: predictions are made with no other."""
        return {"versions": [current_version(self._service.place)]}

    def _answer(self, changed: int, *, requested: bool) -> dict[str, Any]:
        assert self._ledger is not None
        assert self._jobs is not None
        answer: dict[str, Any] = {"status": "ok", "changed": changed}
        after = self._learn_after
        if requested or (changed and after is not None and len(self._ledger.changed()) >= after):
            answer["job"] = self._jobs.request()
        return answer

    def _teaching(self) -> Ledger:
        if self._ledger is None:
            raise InputError(
                "unsupported", "the model cannot be taught: start `cign label-studio` with --teach"
            )
        return self._ledger

    def _interface(self, text: object) -> Interface:
        try:
            return read_interface(text)
        except InputError as error:
            self._log_once(str(error))  # Label Studio shows the status of an error alone
            raise

    def _log_once(self, text: str) -> None:
        if text and text not in self._told:
            if len(self._told) > 1000:
                self._told.clear()
            self._told.add(text)
            self._tell(text)
