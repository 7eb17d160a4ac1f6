"""Methods of a trained model: predict, save, push, export."""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from cign.backbones.base import Backbone
from cign.data.media.array_clip import ArrayClip
from cign.data.media.live.source import LiveOptions
from cign.errors import InputError
from cign.inference.features import predict_features
from cign.inference.inputs import Given, as_inputs
from cign.inference.live import LivePrediction, Place, Remark, as_place, predict_live
from cign.inference.live_statistics import Statistics
from cign.inference.predict import Observer, predict_files
from cign.inference.prediction import Prediction
from cign.inference.prediction_stream import PredictionStream
from cign.inference.segment import Segment, SegmentRules, segment_step_s
from cign.inference.segments import merge
from cign.labelling.labelled import Labelled
from cign.saved_model.files import state_of
from cign.saved_model.folder import save_model
from cign.saved_model.hub import upload
from cign.saved_model.model import Model
from cign.saved_model.pretrained import Pretrained
from cign.saved_model.versions import save_or_publish
from cign.utils.display import displayed
from cign.utils.progress import Progress

if TYPE_CHECKING:
    from cign.export.exporting import Exported


class Trained(Labelled, Pretrained):
    """The part of `cign.learner.Learner` that needs only a trained model.

    Attributes:
        model: The trained or loaded model; None before.
    """

    def __init__(self) -> None:
        self.model: Model | None = None
        self._backbone: Backbone | None = None
        # State of each folder (`state_of`) when this model was read or written.
        self._seen: dict[Path, str | None] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the known classes in the order of learning; empty without a model."""
        return () if self.model is None else self.model.classes

    # ---------------------------------------------------------------- predict

    def predict(
        self,
        clips: Given | None = None,
        *,
        audio: ArrayLike | None = None,
        rate_hz: float | None = None,
        frames: ArrayLike | None = None,
        frame_rate_hz: float | None = None,
        top: int = 3,
        every_s: float | None = None,
        unknown_threshold: float | None = None,
        progress: Progress | bool | None = None,
        observer: Observer | None = None,
    ) -> PredictionStream:
        """Predict files or arrays.

        ``predict("a.mp4").one()``, ``predict("folder").all()``, ``predict(["a.mp4", "b.wav"])``,
        ``predict(audio=waveform, rate_hz=44100, frames=frames).one()``.

        Args:
            clips: A path, a folder (all media files in it and its subfolders, except hidden
                ones), a pattern such as ``"clips/*.mp4"``, an `ArrayClip`, or an iterable of
                these. An unreadable file gives a prediction with ``error`` set.
            audio: Waveform of one clip, instead of ``clips``: [L] or [channels, L], see
                `ArrayClip`. For batches pass a list of `ArrayClip`, see `ArrayClip.batch`.
            rate_hz: Samples per second of ``audio``.
            frames: RGB images of one clip, instead of ``clips``: [K, H, W, 3].
            frame_rate_hz: Frames per second of ``frames``.
            top: Number of classes per modality.
            every_s: Seconds between window starts; None takes only the centre window.
            unknown_threshold: Unknown score, 0..1, above which a clip is called unknown, instead
                of the model's own thresholds; 0 disables it.
            progress: Receives the progress of files. None shows a bar in a terminal or notebook if
                there are several files; False shows none.
            observer: Called with each window's prediction, decoded data and maps.

        Returns:
            Predictions in input order, each computed when it is requested.

        Raises:
            InputError: If an argument is invalid, or the backbone differs from the one that the
                model was trained with.
        """
        model = self._trained()
        _check_options(unknown_threshold, top, every_s)
        arrays = (audio, rate_hz, frames, frame_rate_hz)
        if (clips is None) == all(value is None for value in arrays):
            raise InputError(
                "conflicting-options", "give either clips or arrays (audio= with rate_hz=, frames=)"
            )
        if clips is None:
            clips = ArrayClip(
                audio=audio, rate_hz=rate_hz, frames=frames, frame_rate_hz=frame_rate_hz
            )
        inputs = as_inputs(clips)
        total = None
        if isinstance(clips, (str, os.PathLike, ArrayClip, list, tuple)):
            inputs = iter(found := list(inputs))
            total = len(found)
        how: dict[str, Any] = {"top": top, "every_s": every_s, "observer": observer}
        how["unknown_threshold"] = unknown_threshold
        encoders = self._encoders()

        def predictions() -> Generator[Prediction, None, None]:
            # No bar for a single file or an unknown number of files.
            shown = False if progress is None and (total is None or total < 2) else progress
            with displayed(shown) as bar:
                if total is not None:
                    bar.start("predicting", total)
                yield from predict_files(model, encoders, inputs, progress=bar, **how)

        return PredictionStream(predictions())

    def segments(
        self,
        clips: Given,
        *,
        every_s: float | None = None,
        rules: SegmentRules | None = None,
        unknown_threshold: float | None = None,
        progress: Progress | bool | None = None,
    ) -> Iterator[Segment]:
        """Find the parts of recordings in which a class is present.

        ``for segment in learner.segments("long.mp4"): print(segment.start_s, segment.label)``.

        Args:
            clips: As for `predict`.
            every_s: Seconds between window starts; by default a part of the model's window.
            rules: When segments begin and end; by default `SegmentRules.of_model`.
            unknown_threshold: As for `predict`.
            progress: As for `predict`.

        Yields:
            The segments of each recording, in the order of their start; with several labels per
            clip, in that of their end.

        Raises:
            InputError: If an argument is invalid, or a recording cannot be read.
        """
        model = self._trained()
        found = self.predict(
            clips,
            top=len(model.classes),
            every_s=segment_step_s(model, every_s),
            unknown_threshold=unknown_threshold,
            progress=progress,
        )
        rules = SegmentRules.of_model(model) if rules is None else rules
        for one in merge(found, rules, multi_label=model.method.setup.multi_label):
            if isinstance(one, Prediction):
                raise InputError("bad-clip", f"{one.file} cannot be read: {one.error}")
            yield one

    def predict_live(
        self,
        sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str] | Place],
        *,
        how: LiveOptions | None = None,
        top: int = 3,
        unknown_threshold: float | None = None,
        remark: Remark | None = None,
        statistics: Statistics | None = None,
    ) -> Iterator[LivePrediction]:
        """Predict streams, capture devices and files that grow, window by window.

        ``for one in learner.predict_live("rtsp://camera/stream"): print(one.start_s, one.label)``.

        Args:
            sources: URLs, ``device:FORMAT:NAME`` and paths of files that another program writes.
            how: Step of the windows, time limits and reconnection.
            top: Number of classes per modality.
            unknown_threshold: As for `predict`.
            remark: Called with the name of a source and what happened to it.
            statistics: Collects latencies and drops.

        Returns:
            Predictions as the windows arrive; a source that fails gives one with its error. Closing
            the generator stops reading.

        Raises:
            InputError: If a name is not a file, URL or device.
        """
        model = self._trained()
        _check_options(unknown_threshold, top)
        given = [sources] if isinstance(sources, (str, os.PathLike)) else sources
        places = [one if isinstance(one, Place) else as_place(os.fspath(one)) for one in given]
        return predict_live(
            model,
            self._encoders(),
            places,
            LiveOptions() if how is None else how,
            top=top,
            unknown_threshold=unknown_threshold,
            remark=remark,
            statistics=statistics,
        )

    def predict_features(
        self,
        audio: ArrayLike,
        visual: ArrayLike,
        *,
        ids: Sequence[str] | None = None,
        top: int = 3,
        unknown_threshold: float | None = None,
    ) -> PredictionStream:
        """Predict precomputed features, of the encoders whose tokens the model was trained on.

        Args:
            audio: Audio features of N clips, shape [N, D] or [N, T, D]; zeros for a clip without.
            visual: Visual features, likewise.
            ids: Names of the clips, `Prediction.file`; their numbers if absent.
            top: As for `predict`.
            unknown_threshold: As for `predict`.

        Returns:
            As for `predict`, without times.

        Raises:
            InputError: If the features do not suit the model or are not finite.
        """
        _check_options(unknown_threshold, top)
        how: dict[str, Any] = {"ids": ids, "top": top, "unknown_threshold": unknown_threshold}
        return PredictionStream(predict_features(self._trained(), audio, visual, **how))

    # ------------------------------------------------------------- save, load

    def save(self, folder: Path | str) -> None:
        """Write a MODEL folder; an existing one gets a new version.

        Raises:
            InputError: If the folder belongs to a run, or another process is changing it or has
                changed it since this learner was loaded from it.
        """
        place = Path(folder).resolve()
        save_or_publish(self._trained(), place, self._seen.get(place))
        self._seen[place] = state_of(place)

    def push(
        self,
        name: str,
        *,
        private: bool = True,
        keep: bool = False,
        licence: str | None = None,
        **how: Any,
    ) -> str:
        """Upload the model to a model hub; `Learner.load` and all commands accept its name.

        Args:
            name: ``owner/name``.
            private: Whether a newly created repository is private.
            keep: Whether the model's validation clips (tokens) are uploaded too.
            licence: Licence of the weights for the model card, as hubs name it.
            **how: Further arguments of `cign.saved_model.hub.upload`.

        Returns:
            URL of the commit.

        Raises:
            InputError: If the name is invalid, or the backbone is a folder of this machine.
            RunError: If the hub refuses the upload or cannot be reached.
        """
        model = self._trained()
        with tempfile.TemporaryDirectory() as folder:
            pushed = model if keep else dataclasses.replace(model, kept=None)
            save_model(pushed, Path(folder), licence=licence)
            return upload(Path(folder), name, private=private, **how)

    def export(
        self,
        out: Path | str,
        *,
        format: str = "onnx",
        precision: str = "fp32",
        clips: Sequence[Path | str] = (),
        progress: Progress | None = None,
    ) -> Exported:
        """Export the predictor to a file; arguments and errors as for `export_model`."""
        from cign.export.exporting import export_model  # slow import

        model, files = self._trained(), [Path(clip) for clip in clips]
        return export_model(
            model,
            self._encoders(),
            Path(out),
            format=format,
            precision=precision,
            clips=files,
            progress=progress,
        )


def _check_options(unknown_threshold: float | None, top: int, every_s: float | None = None) -> None:
    """Check options of predictions.

    Raises:
        InputError: If the threshold of the unknown score is not in [0, 1], no class is asked for,
            or windows would not follow each other.
    """
    if unknown_threshold is not None and not 0 <= unknown_threshold <= 1:
        raise InputError(
            "bad-value",
            f"unknown_threshold is {unknown_threshold!r}; it must be in [0, 1], 0 disables it",
        )
    if top < 1:
        raise InputError("bad-value", f"top is {top}; it must be 1 or more classes")
    if every_s is not None and not 0 < every_s < math.inf:
        raise InputError("bad-value", f"every_s is {every_s}; it must be a time above 0 s")
