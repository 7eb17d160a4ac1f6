"""The model behind the page: the answers that the page shows; independent of the page itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from cign.data.media.decode import Decoded
from cign.errors import InputError
from cign.explain.scene import Scene, make_scene
from cign.inference.localization import Maps
from cign.inference.predict import predict_files
from cign.inference.prediction import Prediction
from cign.serving.model_service import ModelService

TOP = 5


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The result for a clip.

    Attributes:
        prediction: Predictions of each modality, `TOP` classes each.
        scene: Data for drawing.
        duration_s: Length of the clip in seconds.
        notes: Warnings about the file, one sentence each.
        seconds: Time taken.
    """

    prediction: Prediction
    scene: Scene
    duration_s: float
    notes: tuple[str, ...]
    seconds: float


class Service(ModelService):
    """Holds the model of a page, see `cign.serving.model_service.ModelService`."""

    def answer(self, clip: Path) -> Answer:
        """Predict a clip.

        Raises:
            InputError: If it cannot be read.
        """
        began = time.perf_counter()
        model = self.model
        observed: list[tuple[Decoded, Maps | None]] = []
        (prediction,) = predict_files(
            model,
            self.backbone(model),
            [clip],
            top=TOP,
            observer=lambda _, decoded, maps: observed.append((decoded, maps)),
        )
        if prediction.error is not None:
            raise InputError(
                "bad-clip",
                f"{clip.name} cannot be read ({prediction.error}): choose another video or audio "
                "file",
            )
        ((decoded, maps),) = observed
        scene = make_scene(
            prediction,
            decoded,
            maps,
            model.classes,
            rate_hz=model.media_spec.rate_hz,
            method=model.method.name,
        )
        return Answer(
            prediction=prediction,
            scene=scene,
            duration_s=decoded.duration_s,
            notes=tuple(detail for _, detail in decoded.conditions),
            seconds=time.perf_counter() - began,
        )
