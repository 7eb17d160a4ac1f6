"""Images of windows: what they show, whatever a clip lacks; their names; films that play."""

import dataclasses
import re
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from matplotlib.text import Text

from cign.data.media.decode import Decoded, MediaSpec
from cign.errors import InputError
from cign.explain import look
from cign.explain.canvas import HEIGHT, WIDTH
from cign.explain.drawing import draw
from cign.explain.names import FileNames
from cign.explain.pictures import smooth, tinted
from cign.explain.scene import NUM_MOMENTS, between_tokens, log_mel, make_scene
from cign.explain.writer import Explainer
from cign.inference.localization import Maps, maps_of
from cign.inference.prediction import Prediction
from cign.methods.capabilities import has_maps
from refusals import input_error
from toy import FIXED, SHAPE, toy_loop, toy_tokens

RATE_HZ = 8000
CLASSES = ("bell", "drum", "horn $x^2_y")


def clip(*, audio=True, visual=True, seconds=1.0, num_frames=1):
    rng = np.random.default_rng(0)
    return Decoded(
        frames=rng.integers(0, 255, (num_frames, 32, 32, 3), dtype=np.uint8),
        audio=rng.integers(-9000, 9000, RATE_HZ, dtype=np.int16),
        has_audio=audio,
        has_visual=visual,
        silent=False,
        still=None,
        start_s=2.0,
        end_s=2.0 + seconds,
        duration_s=9.0,
    )


def prediction(*, is_unknown=False, missing=()):
    told = [
        {"label": name, "probability": p} for name, p in zip(CLASSES, (0.7, 0.2, 0.1), strict=True)
    ]
    modalities = {name: [] if name in missing else told for name in ("audio", "visual")}
    return Prediction(
        file="some/where/a clip.mp4",
        start_s=2.0,
        end_s=3.0,
        label=CLASSES[0],
        unknown=0.8 if is_unknown else 0.3,
        unknown_threshold=0.7,
        is_unknown=is_unknown,
        modalities={**modalities, "audio_visual": told},
        missing=list(missing),
    )


def maps(num_frames=1):
    """Class 0 is in the patch of row 1, column 3, and in the third of four moments."""
    visual = np.full((num_frames, 4, 4, 3), 0.1, np.float32)
    visual[-1, 1, 3, 0] = 0.8
    audio = np.full((4, 3), 0.1, np.float32)
    audio[2, 0] = 0.5
    return Maps(visual=visual, audio=audio)


MAPS = maps()


def scene(*, given=MAPS, one=None, **of_clip):
    return make_scene(
        one or prediction(),
        clip(**of_clip),
        given,
        CLASSES,
        rate_hz=RATE_HZ,
        method="finetune",
    )


def words(canvas):
    return [text.get_text() for text in canvas.figure.findobj(Text) if text.get_text()]


def test_a_scene_holds_the_strongest_patch_and_the_moments():
    first, *others = scene(given=maps(3), num_frames=3).classes
    assert [one.label for one in others] == list(CLASSES[1:])
    assert first.frame == 2
    assert first.box == (0.75, 0.25, 0.25, 0.25)
    assert first.patches.max() == 1
    assert len(first.moments) == NUM_MOMENTS
    assert 0.5 < first.moments.argmax() / NUM_MOMENTS < 0.75


def test_a_repeated_clip_is_drawn_once():
    values = np.array([0.0, 1.0, 0.0, 1.0], np.float32)
    assert between_tokens(values, 1.0)[-1] == 1
    half = between_tokens(values, 0.5)
    assert half[-1] == pytest.approx(0.5, abs=0.01)
    assert half.argmax() == pytest.approx(3 * NUM_MOMENTS / 4, abs=2)
    wanted = log_mel(clip().audio[: RATE_HZ // 2], RATE_HZ)
    assert np.array_equal(scene(seconds=0.5).spectrogram, wanted)


def test_spectrogram_shows_a_tone_where_the_mel_scale_has_it():
    t = np.arange(RATE_HZ) / RATE_HZ
    tone = (9000 * np.sin(2 * np.pi * 1000 * t)).astype(np.int16)
    mel = log_mel(tone, RATE_HZ)
    share = np.log10(1 + 1000 / 700) / np.log10(1 + 4000 / 700)
    assert mel.mean(axis=1).argmax() / len(mel) == pytest.approx(share, abs=0.02)


def test_the_picture_says_what_was_found():
    canvas = draw(scene())
    said = words(canvas)
    assert {"bell", "0.70", "seconds", "kHz", "audio", "visual", "audio-visual"} <= set(said)
    assert "bell 0.70" in said
    assert "horn $x^2_y 0.10" in said  # written as it is, not as a formula
    assert any("where/a clip.mp4" in one for one in said)
    assert "unknown" not in said
    assert canvas.to_array().shape == (HEIGHT, WIDTH, 3)


def test_an_unknown_clip_has_its_badge():
    said = words(draw(scene(one=prediction(is_unknown=True))))
    assert "unknown" in said
    assert "unlike all known classes; the nearest is bell, 0.70" in said


@pytest.mark.parametrize(("lacks", "word"), [("audio", "audio"), ("visual", "video")])
def test_what_a_clip_lacks_is_said(lacks, word):
    one = scene(one=prediction(missing=(lacks,)), **{lacks: False})
    said = words(draw(one))
    assert said.count(f"no {word} track") == 2
    assert f"0.70; no {word}" in said
    assert (one.classes[0].moments is None) == (lacks == "audio")
    assert (one.classes[0].patches is None) == (lacks == "visual")


def test_a_method_without_maps_says_so():
    said = words(draw(scene(given=None)))
    assert "Method finetune does not support\nlocalization maps." in said
    assert "bell 0.70" not in said


def test_heat_keeps_the_colours_of_what_is_found():
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[..., 0] = 200
    patches = np.zeros((4, 4), np.float32)
    patches[0, 0] = 1.0
    heat = smooth(patches, 64)
    assert heat.argmax() // 64 < 16
    assert heat.argmax() % 64 < 16
    shown = tinted(picture, heat, (0.0, 0.0, 1.0))
    assert shown[4, 4] == pytest.approx([200 / 255, 0, 0], abs=0.02)
    pale = shown[-4, -4]
    assert pale[0] == pytest.approx(pale[1], abs=1e-3)


def test_colours_are_those_of_the_report():
    css = (Path(look.__file__).parents[1] / "report" / "assets" / "report.css").read_text()
    first = dict(re.findall(r"--([\w-]+): (#\w+)", css[: css.index("@media")]))
    assert tuple(first[f"s{i}"] for i in range(len(look.CLASSES))) == look.CLASSES
    names = {"INK": "ink", "SOFT": "soft", "RULE": "rule", "PANEL": "panel", "WARN": "warn"}
    assert all(getattr(look, ours) == first[theirs] for ours, theirs in names.items())


def test_names_are_safe_and_never_given_twice():
    names = FileNames()
    assert names.name("a/clip.mp4", ".png") == "clip.png"
    assert names.name("b/Clip.webm", ".png") == "Clip_2.png"
    assert names.name("b/clip.webm", ".png") == "clip_3.png"
    assert names.name("clip_2.mp4", ".png") == "clip_2_2.png"
    assert names.name("x/../é ü:*?$(rm).mov", ".png") == "rm.png"
    assert names.name("/x/日本.mp4", ".png") == "clip_4.png"
    assert names.name("-rf.mp4", ".png") == "rf.png"
    assert names.name("c.mp4", ".png", 12.5) == "c_00012.50s.png"
    assert len(names.name("y" * 300 + ".mp4", ".png")) < 100


@dataclasses.dataclass
class FakeModel:
    spec: MediaSpec
    classes: tuple = CLASSES

    @property
    def media_spec(self):
        return self.spec

    class method:  # noqa: N801
        name = "finetune"


def test_a_film_shows_each_window_for_its_time_with_its_sound(tmp_path):
    model = FakeModel(MediaSpec(frame_px=32, rate_hz=RATE_HZ, window_s=1.0))
    with Explainer(tmp_path, model, kind="mp4", every_s=0.5) as explainer:
        for start_s in (0.0, 0.5):
            window = dataclasses.replace(clip(), start_s=start_s, end_s=start_s + 1.0)
            explainer(prediction(), window, maps())
    assert explainer.num_written == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a_clip.mp4"]
    with av.open(str(tmp_path / "a_clip.mp4")) as film:
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(pictures) == 20
    assert pictures[0].shape == (HEIGHT, WIDTH, 3)
    with av.open(str(tmp_path / "a_clip.mp4")) as film:
        heard = np.concatenate([f.to_ndarray() for f in film.decode(audio=0)], axis=1)
    assert heard.shape[1] >= RATE_HZ
    assert np.abs(heard[0, : RATE_HZ // 2]).max() > 0.05


def test_a_film_that_an_error_cuts_short_is_not_kept(tmp_path):
    model = FakeModel(MediaSpec(frame_px=32, rate_hz=RATE_HZ, window_s=1.0))
    explainer = Explainer(tmp_path, model, kind="mp4", every_s=0.5)
    explainer(prediction(), clip(), maps())
    explainer.__exit__(RuntimeError, RuntimeError("stop"), None)
    assert list(tmp_path.iterdir()) == []


def test_explaining_refuses_what_would_show_nothing(tmp_path):
    model = FakeModel(MediaSpec(frame_px=32, rate_hz=RATE_HZ))
    with input_error("conflicting-options", "--explain-as mp4", "--every"):
        Explainer(tmp_path, model, kind="mp4")
    with input_error("unknown-name", "'gif'"):
        Explainer(tmp_path, model, kind="gif")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        Explainer(tmp_path / "file", model)


@pytest.mark.parametrize("name", ["cign_analytic", "cign", "cign_replay", "finetune"])
def test_maps_of_methods(name):
    fast = {"training": {"num_epochs": 1, "min_steps": 0, "batch_size": 16}}
    options = {
        "cign": {**fast, "depth": 1, "num_heads": 2},
        "cign_analytic": {**FIXED["cign_analytic"], "width": 30},
    }.get(name, fast)
    torch.set_num_threads(1)
    loop = toy_loop(
        name, options=options, num_tasks=1, memory="12" if name == "cign_replay" else "0"
    )
    loop.run()
    method = loop.method.eval()
    grid = dataclasses.replace(SHAPE, audio_grid=(1, 3), visual_grid=(2, 2))
    method.setup = dataclasses.replace(method.setup, shape=grid)
    _, audio, visual = toy_tokens(per_class=1)
    with torch.inference_mode():
        output = method.predict(torch.from_numpy(audio), torch.from_numpy(visual))
    found = maps_of(output, method.setup.shape, 1)
    assert (found is not None) == has_maps(method) == (name != "finetune")
    if found is None:
        return
    assert found.visual.shape == (6, 1, 2, 2, 6)
    assert (found.visual >= 0).all()
    # `cign` pools the sound to one token, as its release does: no moments.
    assert (found.audio is None) == (name == "cign")
    if name == "cign_analytic":
        assert found.visual.sum(axis=(1, 2, 3)) == pytest.approx(1, abs=1e-5)
        assert found.audio.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert np.array_equal(found.of(2).audio, found.audio[2])
