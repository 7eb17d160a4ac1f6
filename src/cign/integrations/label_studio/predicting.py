"""Predictions for tasks, in the form of Label Studio's pre-annotations."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from cign.data.formats.label_tools.label_studio_values import choices_result, region_result
from cign.errors import CignError, InputError
from cign.inference.predict import predict_files
from cign.inference.prediction import Prediction
from cign.inference.segment import SegmentRules
from cign.inference.segments import merge
from cign.integrations.label_studio.interface import Control, Interface
from cign.integrations.label_studio.media import MediaFiles, reference_of
from cign.integrations.label_studio.names import Names, match_names
from cign.integrations.label_studio.service import ServedModel, version_name
from cign.saved_model.model import Model

Task = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PredictionOptions:
    """How tasks are predicted.

    Attributes:
        every_s: Seconds between the windows from which regions are made.
        unknown: Label for unknown clips; without it they have no result.
        min_probability: Least probability of a result.
    """

    every_s: float = 1.0
    unknown: str | None = None
    min_probability: float = 0.0


@dataclass(frozen=True, kw_only=True)
class _Use:
    """A control with the names of its labels, and the model that fills it."""

    control: Control
    names: Names
    model: Model


class Predictor:
    """Predicts tasks; several requests are answered one after another.

    Args:
        service: The model.
        media: Finds the recordings.
        options: How tasks are predicted.
    """

    def __init__(self, service: ServedModel, media: MediaFiles, options: PredictionOptions) -> None:
        self._service, self._media, self._options = service, media, options
        self._lock = threading.Lock()

    def predict(self, tasks: Sequence[object], interface: Interface) -> list[dict[str, Any]]:
        """Predict tasks.

        Args:
            tasks: Tasks as Label Studio sends them.
            interface: The labelling interface of their project.

        Returns:
            One object per task, in their order: ``result``, ``score`` and ``model_version``. Of a
            task that cannot be predicted, ``error`` and ``model_version`` without a result, so that
            Label Studio stores nothing for it and asks again.
        """
        with self._lock, ExitStack() as files:
            snapshot = self._service.refreshed()
            version, model = version_name(snapshot), snapshot.model
            uses = [
                _Use(control=one, names=match_names(one, model.classes), model=model)
                for one in interface.controls
                if not one.per_region
            ]
            found = [self._files(task, uses, files) for task in tasks]
            whole, windows = self._predictions(model, uses, found)
            answers = []
            for task, paths in zip(tasks, found, strict=True):
                answer: dict[str, Any]
                try:
                    if isinstance(paths, CignError):
                        raise paths
                    assert isinstance(task, Mapping)
                    answer = self._answer(task, uses, paths, whole, windows)
                except CignError as error:
                    answer = {"error": str(error), "error_code": error.code}
                answers.append({**answer, "model_version": version})
            return answers

    def _files(
        self, task: object, uses: Sequence[_Use], files: ExitStack
    ) -> dict[str, Path] | CignError:
        """The recordings of a task by field, or why it has none."""
        try:
            data = task.get("data") if isinstance(task, Mapping) else None
            if not isinstance(data, Mapping):
                raise InputError("bad-list", "the task has no data: import it with its recording")
            fields = dict.fromkeys(use.control.field for use in uses)
            return {
                field: files.enter_context(self._media.opened(reference_of(data, field)))
                for field in fields
            }
        except CignError as error:
            return error

    def _predictions(
        self,
        model: Model,
        uses: Sequence[_Use],
        found: Sequence[dict[str, Path] | CignError],
    ) -> tuple[dict[Path, list[Prediction]], dict[Path, list[Prediction]]]:
        """The predictions of each file: of its centre window, and of all windows."""
        made: list[dict[Path, list[Prediction]]] = []
        for by_windows in (False, True):
            fields = {u.control.field for u in uses if u.control.takes_regions == by_windows}
            paths = dict.fromkeys(
                path
                for one in found
                if isinstance(one, dict)
                for field, path in one.items()
                if field in fields
            )
            of: dict[Path, list[Prediction]] = {path: [] for path in paths}
            every_s = self._options.every_s if by_windows else None
            if paths:
                read = predict_files(
                    model,
                    self._service.backbone(model),
                    list(paths),
                    top=len(model.classes),
                    every_s=every_s,
                )
                for prediction in read:
                    of[Path(prediction.file)].append(prediction)
            made.append(of)
        return made[0], made[1]

    def _answer(
        self,
        task: Task,
        uses: Sequence[_Use],
        paths: Mapping[str, Path],
        whole: Mapping[Path, Sequence[Prediction]],
        windows: Mapping[Path, Sequence[Prediction]],
    ) -> dict[str, Any]:
        results: list[dict[str, Any]] = []
        scores: list[float] = []
        for use in uses:
            predictions = (windows if use.control.takes_regions else whole)[
                paths[use.control.field]
            ]
            for one in predictions:
                if one.error is not None:
                    raise InputError(
                        "bad-clip",
                        f"{task['data'][use.control.field]!r} cannot be read ({one.error}): give "
                        "another video or audio file",
                    )
            scores += [one.probability for one in predictions if one.probability is not None]
            identity = f"{task.get('id')}\0{use.control.target.from_name}"
            if use.control.takes_regions:
                rate = use.control.rate(task["data"])
                results += self._regions(use, predictions, rate, identity)
            else:
                results += self._choices(use, predictions, identity)
        score = sum(scores) / len(scores) if scores else 0.0
        return {"result": results, "score": round(score, 6)}

    def _choices(
        self, use: _Use, predictions: Sequence[Prediction], identity: str
    ) -> Iterator[dict[str, Any]]:
        for prediction in predictions:
            assigned = self._assigned(use, prediction)
            if not assigned:
                continue
            most = max(assigned, key=lambda label: assigned[label])
            labels = list(assigned) if use.control.is_multiple else [most]
            yield choices_result(use.control.target, identity, labels, assigned[most])

    def _regions(
        self,
        use: _Use,
        predictions: Sequence[Prediction],
        rate: Fraction | None,
        identity: str,
    ) -> Iterator[dict[str, Any]]:
        """Regions of each label: the segments of its classes."""
        rules, setup = SegmentRules.of_model(use.model), use.model.method.setup
        offered = {label.name for label in use.control.labels}
        least = max(self._options.min_probability, use.control.min_probability)
        for one in merge(predictions, rules, multi_label=setup.multi_label):
            if isinstance(one, Prediction):
                continue  # reported before
            if one.is_unknown:
                label, score = self._options.unknown, one.unknown
            else:
                label, score = use.names.label_of.get(one.label), one.probability
            is_probable = one.is_unknown or score >= least
            if label is None or label not in offered or not is_probable:
                continue
            times_s = (one.start_s, one.end_s)
            yield region_result(
                use.control.target, f"{identity}\0{label}\0{times_s}", times_s, rate, label, score
            )

    def _assigned(self, use: _Use, prediction: Prediction) -> dict[str, float]:
        """The labels of a prediction with their probabilities, the most probable first."""
        least = max(self._options.min_probability, use.control.min_probability)
        if prediction.is_unknown:
            unknown = self._options.unknown
            offered = {label.name for label in use.control.labels}
            return {unknown: prediction.unknown or 0.0} if unknown in offered and unknown else {}
        probability = {
            one["label"]: one["probability"] for one in prediction.modalities["audio_visual"]
        }
        found: dict[str, float] = {}
        for name in prediction.labels:
            label = use.names.label_of.get(name)
            if label is not None and probability[name] >= least:
                found[label] = max(found.get(label, 0.0), probability[name])
        return found
