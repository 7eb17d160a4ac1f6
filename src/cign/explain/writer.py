"""Write an image or a video for every predicted file or window."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from cign.data.media.decode import Decoded
from cign.errors import InputError, one_of
from cign.explain.drawing import draw
from cign.explain.film import Film
from cign.explain.names import FileNames
from cign.explain.scene import Scene, make_scene
from cign.inference.localization import Maps
from cign.inference.prediction import Prediction
from cign.saved_model.model import Model

KINDS = ("png", "mp4")


class Explainer:
    """Observer of `predict_files`; as a context manager it completes all videos on exit.

    Args:
        folder: Output folder; created if it does not exist.
        model: The model that predicts.
        kind: ``png``: one image for each file or window. ``mp4``: one video for each file, with a
            figure for each window or, without windows, for each frame of the model's input.
        every_s: Step between windows in seconds; None if only the centre window is predicted.

    Raises:
        InputError: If a video would show a single figure, or the folder is a file.
    """

    def __init__(
        self, folder: Path, model: Model, *, kind: str = "png", every_s: float | None = None
    ) -> None:
        if kind not in KINDS:
            raise one_of(kind, KINDS, "--explain-as")
        if kind == "mp4" and every_s is None and model.media_spec.num_frames == 1:
            raise InputError(
                "conflicting-options",
                "--explain-as mp4 would show a single still image, because this model takes one "
                "frame per clip: give --every, for example 0.5, or use png",
            )
        if folder.exists() and not folder.is_dir():
            raise InputError("bad-output", f"--explain {folder} is a file: name a folder")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.kind, self.num_written = folder, kind, 0
        self._model, self._every_s = model, every_s
        self._names = FileNames()
        self._open = ExitStack()
        self._film: Film | None = None
        self._file, self._last_s = "", 0.0

    def __enter__(self) -> Explainer:
        return self

    def __exit__(self, *error: object) -> None:
        # A video that an error interrupts is discarded.
        self._open.__exit__(*error)  # type: ignore[arg-type]

    def __call__(self, prediction: Prediction, clip: Decoded, maps: Maps | None) -> None:
        """Draw a window."""
        model = self._model
        rate_hz = model.media_spec.rate_hz
        scene = make_scene(
            prediction, clip, maps, model.classes, rate_hz=rate_hz, method=model.method.name
        )
        if self.kind == "mp4":
            self._add_to_film(scene, clip)
            return
        start_s = None if self._every_s is None else scene.start_s
        draw(scene).save(self.folder / self._names.name(prediction.file, ".png", start_s))
        self.num_written += 1

    def _add_to_film(self, scene: Scene, clip: Decoded) -> None:
        file, spec = scene.prediction.file, self._model.media_spec
        continues = self._every_s is not None and file == self._file
        if not continues or scene.start_s <= self._last_s:
            self._open.close()
            path = self.folder / self._names.name(file, ".mp4")
            self._film = self._open.enter_context(Film(path, spec.rate_hz))
            self.num_written += 1
        self._file, self._last_s = file, scene.start_s
        assert self._film is not None
        length_s = scene.end_s - scene.start_s
        shown_s = length_s if self._every_s is None else self._every_s
        # Only the frames within the part of the window that is shown.
        step_s = length_s / spec.num_frames
        middles_s = [(i + 0.5) * step_s for i in range(spec.num_frames)]
        frames = [i for i, middle_s in enumerate(middles_s) if middle_s < shown_s] or [0]
        sound = clip.audio if clip.has_audio else None
        at_s = [scene.start_s + middles_s[i] for i in frames]
        pictures = (
            draw(scene, frame=i, at_s=t).to_array() for i, t in zip(frames, at_s, strict=True)
        )
        self._film.add(pictures, len(frames), shown_s, sound)
