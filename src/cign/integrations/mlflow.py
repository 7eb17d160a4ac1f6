"""MLflow models: save, log and register a trained model, and load it again.

The model is a pyfunc, which ``mlflow models serve`` and ``mlflow.pyfunc.load_model`` take. Its data
are the files of a MODEL folder; nothing is pickled. Needs ``mlflow>=3.5`` (extra ``track``).
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cign.errors import InputError

if TYPE_CHECKING:
    from mlflow.models.model import ModelInfo

    from cign.learner import Learner

COLUMN = "path"
_FOLDER = "cign_model"
_NUMBERS = ("start_s", "end_s", "probability", "unknown", "audio_probability", "visual_probability")
_TEXTS = ("file", "label", "audio_label", "visual_label", "missing", "error")


def save_model(
    learner: Learner, path: Path | str, *, pip_requirements: Sequence[str] | None = None
) -> None:
    """Write an MLflow model to a folder.

    Args:
        learner: A trained model.
        path: A new or empty folder.
        pip_requirements: Packages of the environment that serves the model; None names `cign` in
            this version, and MLflow.

    Raises:
        InputError: If the folder is not empty, MLflow is not installed, or the learner has no
            model.
    """
    place = Path(path)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError("bad-output", f"{path} is not an empty folder: name a new one")
    mlflow = _mlflow()
    with tempfile.TemporaryDirectory() as folder:
        mlflow.pyfunc.save_model(str(path), **_contents(learner, folder, pip_requirements))


def log_model(
    learner: Learner,
    name: str = "model",
    *,
    registered_model_name: str | None = None,
    pip_requirements: Sequence[str] | None = None,
    **how: Any,
) -> ModelInfo:
    """Log a model to the active MLflow run, or a new one, and register it if asked for.

    Args:
        learner: A trained model.
        name: Name of the model in the run.
        registered_model_name: Name in the model registry; None does not register it.
        pip_requirements: As for `save_model`.
        **how: Further arguments of ``mlflow.pyfunc.log_model``.

    Returns:
        What MLflow says of the model, with its ``model_uri``.

    Raises:
        InputError: If MLflow is not installed, or the learner has no model.
    """
    mlflow = _mlflow()
    with tempfile.TemporaryDirectory() as folder:
        return mlflow.pyfunc.log_model(
            name=name,
            registered_model_name=registered_model_name,
            **_contents(learner, folder, pip_requirements),
            **how,
        )


def load_model(model_uri: str, *, device: str | None = None) -> Learner:
    """Load a model of `save_model` or `log_model` as a learner, which can also learn more classes.

    Args:
        model_uri: URI as MLflow takes it: a path, ``runs:/...`` or ``models:/...``.
        device: Compute device, as for `Learner.load`.

    Raises:
        InputError: If MLflow is not installed, or the model is not one of `cign`.
    """
    from cign.learner import Learner

    mlflow = _mlflow()
    place = Path(mlflow.artifacts.download_artifacts(model_uri))
    flavours = mlflow.models.Model.load(str(place)).flavors
    about = flavours.get("python_function", {})
    if about.get("loader_module") != __name__:
        raise InputError(
            "wrong-format",
            f"{model_uri} is not a model of cign: load it with mlflow.pyfunc.load_model",
        )
    return Learner.load(place / about["data"], device=device)


def _contents(
    learner: Learner, folder: str, pip_requirements: Sequence[str] | None
) -> dict[str, Any]:
    """What MLflow stores: the files, who loads them, and the columns of input and output."""
    from mlflow import __version__ as version
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

    from cign import __version__

    place = Path(folder) / _FOLDER
    learner.save(place)
    outputs = [ColSpec("string", name, required=False) for name in _TEXTS]
    outputs += [ColSpec("double", name, required=False) for name in _NUMBERS]
    outputs += [ColSpec("boolean", "is_unknown", required=False)]
    return {
        "loader_module": __name__,
        "data_path": str(place),
        "signature": ModelSignature(
            inputs=Schema([ColSpec("string", COLUMN)]),
            outputs=Schema(outputs),
            params=ParamSchema(
                [
                    ParamSpec("every_s", "double", 0.0),
                    ParamSpec("unknown_threshold", "double", -1.0),
                ]
            ),
        ),
        "pip_requirements": list(
            pip_requirements or (f"cign=={__version__}", f"mlflow=={version}")
        ),
        "metadata": {"cign_classes": len(learner.classes)},
    }


class _Predictor:
    """What ``mlflow.pyfunc.load_model`` calls."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Predict files.

        Args:
            model_input: A DataFrame with a column ``path``, or a list of paths.
            params: ``every_s``, seconds between window starts (0: only the centre window), and
                ``unknown_threshold`` (negative: the model's own).

        Returns:
            A DataFrame with one row for each file or window, see
            `cign.inference.prediction_stream.to_columns`. A file that cannot be read has ``error``.

        Raises:
            InputError: If the column is missing.
        """
        import pandas as pd

        frame = model_input if isinstance(model_input, pd.DataFrame) else None
        if frame is not None and COLUMN not in frame.columns:
            raise InputError(
                "bad-value",
                f"the input has columns {', '.join(map(str, frame.columns)) or 'none'}, but not "
                f"{COLUMN!r}: name the files in a column {COLUMN!r}",
            )
        paths = [str(one) for one in (model_input if frame is None else frame[COLUMN])]
        params = params or {}
        every_s = params.get("every_s") or None
        threshold = params.get("unknown_threshold", -1.0)
        found = self._learner.predict(
            paths,
            top=1,
            every_s=every_s,
            unknown_threshold=None if threshold is None or threshold < 0 else threshold,
            progress=False,
        )
        return found.to_dataframe()[[*_TEXTS, *_NUMBERS, "is_unknown"]]


def _load_pyfunc(data_path: str) -> _Predictor:
    """Called by MLflow to load the model."""
    from cign.learner import Learner

    return _Predictor(Learner.load(data_path))


def _mlflow() -> Any:
    if importlib.util.find_spec("mlflow") is None:
        raise InputError(
            "missing-package",
            "models of MLflow need the package mlflow: `pip install 'mlflow>=3.5'`, or the extra "
            "`track`",
        )
    import mlflow

    return mlflow
