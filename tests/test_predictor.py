"""Predictions on many files and long ones: bounded memory, one modality, what is told of each."""

import gc
import time
import weakref

import numpy as np
import pytest
import torch

from cign.data.media.decode import Decoded, MediaError
from cign.data.media.side_by_side import PAUSE
from cign.inference import predict as predictor
from cign.inference.inputs import NoFile
from cign.inference.predict import BATCH, predict_files
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import PARTS, fit_rule
from cign.utils.progress import Silent
from cign.vocabulary import MODALITIES
from toy import SHAPE
from toy_model import toy_model

NUM_FILES = 400


class FakeBackbone:
    """Tokens out of whatever is stored in place of audio and frames."""

    def audio_tokens(self, audio):
        return audio.float().reshape(len(audio), SHAPE.num_audio_tokens, -1)

    def visual_tokens(self, frames):
        return frames.float().reshape(len(frames), SHAPE.num_visual_tokens, -1)


class Counting(Silent):
    def __init__(self):
        self.done = 0

    def advance(self, steps=1):
        self.done += steps


def window(number, *, audio=True, visual=True):
    rng = np.random.default_rng(number)
    return Decoded(
        frames=rng.normal(size=(SHAPE.num_visual_tokens, 16)).astype(np.float32),
        audio=rng.normal(size=SHAPE.num_audio_tokens * 16).astype(np.float32),
        has_audio=audio,
        has_visual=visual,
        silent=False,
        still=None,
        start_s=float(number),
        end_s=number + 1.0,
        duration_s=1.0,
    )


@pytest.fixture
def model():
    one = toy_model()
    kept = one.kept
    one.unknown = fit_rule(EvidenceReader(one.method), kept.source, np.arange(kept.num_clips))
    return one


class Alive:
    """How many windows are held at once."""

    def __init__(self):
        self.windows = weakref.WeakSet()
        self.most = 0

    def __call__(self, one):
        self.windows.add(one)
        self.most = max(self.most, len(self.windows))
        return one


@pytest.fixture
def alive(monkeypatch):
    alive = Alive()

    def decode(path, spec):
        if path.name == "5":
            raise MediaError("unreadable", "nothing in it decodes")
        return alive(window(int(path.name)))

    def windows(path, spec, every_s):
        for number in range(int(path.name)):
            yield alive(window(number))

    # A window is held by nothing but the prediction's own path.
    monkeypatch.setattr(Decoded, "__hash__", object.__hash__)
    monkeypatch.setattr(Decoded, "__eq__", object.__eq__)
    monkeypatch.setattr(predictor, "decode", decode)
    monkeypatch.setattr(predictor, "decode_windows", windows)
    gc.collect()
    return alive


# One batch of the encoders; for each of two files being read in windows, a queue of one batch, the
# window that waits for space in it and the one decoded meanwhile. The sum leaves some spare.
MOST_HELD = 4 * BATCH


def test_thousands_of_files_are_read_with_a_bounded_number_in_memory(model, alive):
    progress, good = Counting(), 0
    names = (str(i) for i in range(NUM_FILES))  # a generator, never a list
    for number, one in enumerate(predict_files(model, FakeBackbone(), names, progress=progress)):
        assert one.file == str(number)
        good += one.error is None
    assert (good, progress.done) == (NUM_FILES - 1, NUM_FILES)
    assert BATCH <= alive.most <= MOST_HELD


def test_a_long_file_is_read_with_a_bounded_number_of_windows(model, alive):
    progress = Counting()
    starts = []
    for one in predict_files(model, FakeBackbone(), ["300", "20"], every_s=1.0, progress=progress):
        starts.append(one.start_s)
        if len(starts) % BATCH == 1:
            time.sleep(0.02)  # the decoders get ahead of the reader and fill their queues
    assert starts == [*range(300), *range(20)]
    assert progress.done == 2
    assert alive.most <= MOST_HELD


def test_files_are_not_decoded_long_before_they_are_asked_for(model, alive):
    found = predict_files(model, FakeBackbone(), (str(i + 6) for i in range(NUM_FILES)))
    next(found)
    found.close()
    assert len(alive.windows) <= MOST_HELD


@pytest.mark.parametrize("lacks", ["audio", "visual"])
def test_a_file_with_one_modality_is_judged_by_its_reading(model, lacks, monkeypatch):
    monkeypatch.setattr(predictor, "decode", lambda path, spec: window(7, **{lacks: False}))
    seen = []
    (one,) = predict_files(
        model, FakeBackbone(), ["x"], top=6, observer=lambda *told: seen.append(told)
    )
    other = "visual" if lacks == "audio" else "audio"
    assert one.missing == [lacks]
    assert one.modalities[lacks] == []
    assert one.modalities["audio_visual"] == one.modalities[other]
    clip = window(7)
    with torch.inference_mode():
        tokens = (
            FakeBackbone().audio_tokens(torch.from_numpy(clip.audio)[None]).half(),
            FakeBackbone().visual_tokens(torch.from_numpy(clip.frames)[None]).half(),
        )
        evidence = model.evidence_reader.read(*tokens)
    wanted = {name: float(model.unknown.values(evidence, name)[0]) for name in MODALITIES}
    assert one.unknown == pytest.approx(wanted[other], abs=1e-5)
    assert one.unknown != pytest.approx(wanted["audio_visual"], abs=1e-4)
    assert one.unknown_threshold == pytest.approx(model.unknown.thresholds[other], abs=1e-6)
    assert one.is_unknown == (one.unknown > one.unknown_threshold)
    ((told, decoded, _),) = seen
    assert told is one
    assert decoded.start_s == one.start_s


def test_clips_above_the_threshold_are_called_unknown(model, monkeypatch):
    kept = model.kept

    def decode(path, spec):
        number = int(path.name)
        if number < 0:
            return window(-number)
        clip = window(0)
        return Decoded(
            **{
                **clip.__dict__,
                "audio": kept.audio[number].float().numpy().reshape(-1),
                "frames": kept.visual[number].float().numpy(),
            }
        )

    monkeypatch.setattr(predictor, "decode", decode)
    files = [*map(str, range(-40, 0)), *map(str, range(kept.num_clips))]
    found = list(predict_files(model, FakeBackbone(), files))
    told = np.array([one.is_unknown for one in found])
    odd = [window(number) for number in range(40, 0, -1)]
    tokens = (
        FakeBackbone().audio_tokens(torch.from_numpy(np.stack([one.audio for one in odd]))),
        FakeBackbone().visual_tokens(torch.from_numpy(np.stack([one.frames for one in odd]))),
    )
    values = model.unknown.values(model.evidence_reader.read(*tokens), "audio_visual")
    wanted = np.asarray(values) > model.unknown.thresholds["audio_visual"]
    assert wanted.any()
    assert not wanted.all()
    np.testing.assert_array_equal(told[:40], wanted)
    assert told[40:].mean() < 0.2


@pytest.mark.parametrize("every_s", [None, 1.0])
def test_answers_do_not_depend_on_how_many_files_are_decoded_at_a_time(model, monkeypatch, every_s):
    def slow(file, number):
        time.sleep(0.002 * ((7 * int(file)) % 5))
        if int(file) % 9 == 4:
            raise MediaError("unreadable", f"number {file}")
        return window(10 * int(file) + number)

    monkeypatch.setattr(predictor, "decode", lambda path, spec: slow(path.name, 0))
    monkeypatch.setattr(
        predictor,
        "decode_windows",
        lambda path, spec, every_s: (slow(path.name, number) for number in range(3)),
    )
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(predictor, "num_threads", lambda threads=threads: threads)
        files = [str(number) for number in range(40)]
        progress = Counting()
        answers = predict_files(model, FakeBackbone(), files, every_s=every_s, progress=progress)
        found.append(list(answers))
        assert progress.done == 40
    assert found[0] == found[1]
    assert len(found[0]) == (40 if every_s is None else 36 * 3 + 4)


def test_a_name_that_the_system_refuses_costs_its_file_alone(model, tmp_path):
    (tmp_path / "folder").mkdir()
    files = ["x" * 300, str(tmp_path / "folder"), str(tmp_path / "none.mp4"), "a\0b"]
    said = list(predict_files(model, FakeBackbone(), files))
    assert [one.file for one in said] == files
    assert said[0].error == "File name too long"
    assert "it is a folder" in said[1].error
    assert "does not exist" in said[2].error
    assert said[3].error


def test_before_a_pause_files_are_predicted_without_waiting_for_a_full_batch(model, alive):
    done = []

    def names():
        yield from ("10", "11", "12")
        yield PAUSE
        assert done == ["10", "11", "12"]
        yield "13"
        yield PAUSE
        yield PAUSE  # nothing in between
        assert done == ["10", "11", "12", "13"]
        yield from map(str, range(14, 14 + BATCH + 1))

    for one in predict_files(model, FakeBackbone(), names()):
        done.append(one.file)
    assert done == [str(number) for number in range(10, 14 + BATCH + 1)]


def test_what_is_no_file_is_an_error_in_its_place(model, alive):
    nothing = NoFile("x/*.mp4", "missing: no media file matches this pattern", "file-missing")
    found = list(predict_files(model, FakeBackbone(), ["6", nothing, "7"]))
    assert [one.file for one in found] == ["6", "x/*.mp4", "7"]
    assert (found[1].error, found[1].error_code) == (nothing.reason, "file-missing")
    assert found[1].modalities == {"audio": [], "visual": [], "audio_visual": []}
    assert found[0].error is found[2].error is None


@pytest.mark.parametrize("given", [None, 0, 0.25, 1])
def test_a_threshold_in_place_of_the_models_own(model, given, alive):
    files = [str(number) for number in range(6, 40)]
    found = list(predict_files(model, FakeBackbone(), files, unknown_threshold=given))
    own = round(model.unknown.thresholds["audio_visual"], 6)
    wanted = {None: own, 0: None}.get(given, given)
    assert {one.unknown_threshold for one in found} == {wanted}
    over = [wanted is not None and one.unknown > wanted for one in found]
    assert [one.is_unknown for one in found] == over
    assert any(over) == (given in (None, 0.25))  # the noise of these windows is unlike any class


@pytest.mark.parametrize("lacks", [None, "audio"])
def test_the_evidence_of_an_unknown_score_is_told_and_its_largest_part_named(
    model, lacks, monkeypatch
):
    clip = window(7, **({} if lacks is None else {lacks: False}))
    monkeypatch.setattr(predictor, "decode", lambda path, spec: clip)
    (one,) = predict_files(model, FakeBackbone(), ["x"], unknown_threshold=0.01)
    modality = "audio_visual" if lacks is None else "visual"
    with torch.inference_mode():
        evidence = model.evidence_reader.read(
            FakeBackbone().audio_tokens(torch.from_numpy(clip.audio)[None]).half(),
            FakeBackbone().visual_tokens(torch.from_numpy(clip.frames)[None]).half(),
        )
    wanted = {
        name: (float(PARTS[name](evidence, modality)) - mean) / std
        for name, (mean, std) in model.unknown.moments[modality].items()
    }
    assert set(wanted) == {"max_logit", "margin", "leverage"}
    assert one.unknown_evidence == pytest.approx(wanted, abs=2e-3)
    # The score is the mean of the parts through a sigmoid.
    assert one.unknown == pytest.approx(1 / (1 + np.exp(-np.mean([*wanted.values()]))), abs=1e-4)
    assert one.is_unknown
    assert max(wanted, key=wanted.get) in one.why_unknown
    (calm,) = predict_files(model, FakeBackbone(), ["x"], unknown_threshold=0)
    assert calm.why_unknown is None
