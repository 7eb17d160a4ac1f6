"""Class-incremental audio-visual learning.

``from cign import Learner, Prediction, Store, prepare``. Names are imported on first use, so that
``import cign`` takes milliseconds and does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cign.backbones.registered import register_backbone as register_backbone
    from cign.data.dataset import Store as Store
    from cign.data.formats import register_format as register_format
    from cign.data.media.array_clip import ArrayClip as ArrayClip
    from cign.inference.prediction import Prediction as Prediction
    from cign.inference.prediction_stream import to_columns as to_columns
    from cign.inference.prediction_stream import to_dataframe as to_dataframe
    from cign.learner import Learner as Learner
    from cign.methods import register_method as register_method
    from cign.metrics.catalogue import register_metrics as register_metrics
    from cign.runs.preparing import prepare as prepare
    from cign.training.callbacks import Callback as Callback

__version__ = "0.1.0.dev0"

# Name -> module. Type checkers read the imports above instead.
_PUBLIC = {
    "ArrayClip": "cign.data.media.array_clip",
    "Callback": "cign.training.callbacks",
    "Learner": "cign.learner",
    "Prediction": "cign.inference.prediction",
    "Store": "cign.data.dataset",
    "prepare": "cign.runs.preparing",
    "register_backbone": "cign.backbones.registered",
    "register_format": "cign.data.formats",
    "register_method": "cign.methods",
    "register_metrics": "cign.metrics.catalogue",
    "to_columns": "cign.inference.prediction_stream",
    "to_dataframe": "cign.inference.prediction_stream",
}

__all__ = [
    "ArrayClip",
    "Callback",
    "Learner",
    "Prediction",
    "Store",
    "__version__",
    "prepare",
    "register_backbone",
    "register_format",
    "register_method",
    "register_metrics",
    "to_columns",
    "to_dataframe",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
