"""A description of a model that is malformed or hostile: one sentence, before anything is built."""

import contextlib
import copy
import json
import resource

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cign.data.media.decode import MediaSpec
from cign.errors import InputError
from cign.open_set.evidence import EvidenceReader
from cign.open_set.rule import fit_rule
from cign.saved_model.class_thresholds import ClassThreshold, ClassThresholds
from cign.saved_model.files import ABOUT
from cign.saved_model.folder import load_model, save_model
from cign.saved_model.hub import check_backbone
from cign.saved_model.model import Model
from cign.saved_model.validation_clips import KeptClips
from cign.training.arrival import ArrivalEstimate
from cign.vocabulary import MODALITIES
from refusals import input_error
from toy import SHAPE, toy_loop

THRESHOLD = ClassThreshold(threshold=0.7, precision=1.0, recall=None, num_clips=3, is_reached=True)


def saved(name, folder, options):
    loop = toy_loop(name, options=options)
    loop.run()
    kept = KeptClips(
        audio=torch.zeros(1, SHAPE.num_audio_tokens, SHAPE.audio_dim, dtype=torch.float16),
        visual=torch.zeros(1, SHAPE.num_visual_tokens, SHAPE.visual_dim, dtype=torch.float16),
        labels=(loop.clips.tasks.groups[0][:1],),
    )
    model = Model(
        method=loop.method.eval(),
        groups=loop.clips.tasks.groups,
        regime="frozen",
        backbone="small-random",
        fingerprint="0" * 64,
        spec=MediaSpec(frame_px=16, rate_hz=16000, window_s=0.03),
        unknown=fit_rule(EvidenceReader(loop.method), loop.source, loop.test),
        results={"audio": {"last": 90.0, "average": 95.0, "forgetting": None}},
        versions={"python": "3.11"},
        kept=kept,
        changes=({"date": "2026-01-01", "text": "added one"},),
        thresholds=ClassThresholds(
            measure="precision",
            wanted=0.9,
            classes={
                name: dict.fromkeys(MODALITIES, THRESHOLD)
                for group in loop.clips.tasks.groups
                for name in group
            },
        ),
        estimates=(
            ArrivalEstimate(
                task=1,
                num_classes=2,
                num_clips=9,
                num_alone=0,
                left_out="sources",
                measure="accuracy",
                percent={"audio": 50.0, "visual": 60.0, "audio_visual": 70.0},
                reason="",
            ),
        ),
    )
    save_model(model, folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return saved("cign_analytic", tmp_path_factory.mktemp("a") / "model", {"width": 30})


@pytest.fixture(scope="module")
def deep_folder(tmp_path_factory):
    training = {"num_epochs": 1, "min_steps": 0, "batch_size": 24}
    options = {"training": training, "trunk": "transformer", "depth": 1}
    return saved("finetune", tmp_path_factory.mktemp("b") / "model", options)


@pytest.fixture
def about(folder):
    """The description; what is in the file afterwards is as it was."""
    text = (folder / ABOUT).read_text()
    yield json.loads(text)
    (folder / ABOUT).write_text(text)


def put(values, place, value):
    """Set an entry by its place, or take it out."""
    for key in place[:-1]:
        values = values[key]
    if value is MISSING:
        del values[place[-1]]
    else:
        values[place[-1]] = value
    return values


MISSING = object()
DEEP = {}
for _ in range(90):
    DEEP = {"a": DEEP}

MUTATIONS = [
    (("method",), MISSING, "'method' is missing"),
    (("method",), 3, "method is 3, not text"),
    (("method",), "none", "unknown method 'none'"),
    (("options",), [], "options is [], not a mapping"),
    (("options", "width"), 10**9, "describes width 1e+09 at tokens of width 16"),
    (("options", "width"), 10**40, "describes width 1e+40"),
    (("options", "width"), -3, "width -3 is too small"),
    (("options", "width"), 31, "has shape"),
    (("options", "odd"), 1, "unknown option 'odd'"),
    (("options", "temperature"), "NaN-like", "temperature is 'NaN-like'"),
    (("classes",), [], "classes is empty"),
    (("classes",), {}, "classes is {}, not a list"),
    (("classes", 0), "dog", "an entry of classes is 'dog', not a mapping"),
    (("classes", 0, "name"), MISSING, "'name' is missing"),
    (("classes", 0, "name"), "a\x1b[2J", "holds a control character"),
    (("classes", 0, "name"), "a\nb", "holds a control character"),
    (("classes", 0, "name"), "a\u202eb", "contains unprintable characters"),
    (("classes", 0, "name"), "\ud800", "holds a control character"),
    (("classes", 0, "name"), " ", "is empty"),
    (("classes", 0, "name"), "class 1", "class 'class 1' occurs twice"),
    (("classes", 0, "task"), -1, "task is -1, not a whole number from 1"),
    (("classes", 0, "task"), 10**12, "task is 1000000000000, not a whole number"),
    (("classes", 0, "task"), True, "task is True"),
    (("regime",), "other", "regime is 'other', not one of frozen, end-to-end"),
    (("multi_label",), 1, "multi_label is 1, not true or false"),
    (("bf16",), MISSING, "'bf16' is missing"),
    (("shape", "audio_dim"), MISSING, "'audio_dim' is missing"),
    (("shape", "audio_dim"), 0, "audio_dim is 0, not a whole number from 1"),
    (("shape", "audio_dim"), 10**8, "describes width 30 at tokens of width 100000000"),
    (("shape", "visual_grid"), [4, -1], "visual_grid is [4, -1]"),
    (("shape", "odd"), 1, "shape has an unknown entry 'odd'"),
    (("backbone",), "small", "backbone is 'small', not a mapping"),
    (("backbone", "name"), "", "backbone: name is empty"),
    (("backbone", "name"), 7, "backbone: name is 7"),
    (("backbone", "fingerprint"), None, "fingerprint is None"),
    (("backbone", "record"), "x", "record is 'x'"),
    (("preprocessing", "num_frames"), -1, "num_frames is -1"),
    (("preprocessing", "frame_px"), 10**6, "frame_px is 1000000"),
    (("preprocessing", "window_s"), float("inf"), "window_s is inf, not a number"),
    (("preprocessing", "window_s"), 1e12, "makes clips of"),
    (("preprocessing", "window_s"), 0, "with 0 audio samples"),
    (("preprocessing", "codec"), "x", "unknown entry 'codec'"),
    (("unknown", "score"), "odd", "unknown unknown score 'odd'"),
    (("unknown", "thresholds", "audio"), float("nan"), "audio is nan, not a number"),
    (("unknown", "thresholds", "smell"), 0.5, "'smell', which is not a modality"),
    (("unknown", "moments"), {}, "needs mean and std of max_logit, margin, leverage"),
    (("unknown", "moments", "audio", "margin", "std"), 0, "std 0 is not positive"),
    (("unknown", "moments", "audio", "margin", "mean"), "x", "mean is 'x', not a number"),
    (("results",), [], "results is []"),
    (("results", "audio"), 3, "results: audio is 3"),
    (("results", "audio", "last"), "x", "last is 'x', not a number"),
    (("versions", "python"), 3, "python is 3, not text"),
    (("changes",), {"a": 1}, "changes is {'a': 1}, not a list"),
    (("changes", 0, "text"), MISSING, "'text' is missing"),
    (("thresholds",), 0.5, "thresholds is 0.5, not a mapping"),
    (("thresholds", "measure"), "accuracy", "measure is 'accuracy', not precision or recall"),
    (("thresholds", "wanted"), 1.5, "wanted is 1.5, not in [0, 1]"),
    (("thresholds", "classes"), {}, "thresholds: classes are not those of the model"),
    (("thresholds", "classes", "class 0"), MISSING, "classes are not those of the model"),
    (("thresholds", "classes", "class 0", "audio"), MISSING, "does not have audio, visual"),
    (("thresholds", "classes", "class 0", "audio"), 0.5, "audio is 0.5, not a mapping"),
    (("thresholds", "classes", "class 0", "audio", "threshold"), 2, "threshold is 2, not in"),
    (("thresholds", "classes", "class 0", "audio", "recall"), "1", "recall is '1', not a number"),
    (("thresholds", "classes", "class 0", "audio", "num_clips"), -1, "num_clips is -1"),
    (("thresholds", "classes", "class 0", "audio", "is_reached"), 1, "is_reached is 1, not true"),
    (("thresholds", "classes", "class 0", "audio", "more"), 1, "unknown entry 'more'"),
    (("thresholds", "more"), 1, "thresholds has an unknown entry 'more'"),
    (("leave_one_out",), "all", "leave_one_out is 'all', not a list"),
    (("leave_one_out", 0), 3, "an entry of leave_one_out is 3, not a mapping"),
    (("leave_one_out", 0, "task"), 0, "task is 0, not a whole number"),
    (("leave_one_out", 0, "left_out"), "both", "left_out is 'both', not sources or clips"),
    (("leave_one_out", 0, "measure"), MISSING, "'measure' is missing"),
    (("leave_one_out", 0, "percent", "visual"), MISSING, "'visual' is missing"),
    (("leave_one_out", 0, "percent", "audio"), float("nan"), "audio is"),
    (("leave_one_out", 0, "more"), 1, "leave_one_out has an unknown entry 'more'"),
    (("changes", 0, "text"), "\x1b]0;x\x07", "holds a control character"),
    (("kept", "labels"), [["no class"]], "not a list of the model's classes"),
    (("kept", "num_clips"), -4, "num_clips is -4"),
    (("kept", "num_clips"), 5, "num_clips is 5, but there are 1 labels"),
    (("checksums",), MISSING, "'checksums' is missing"),
    (("checksums", "model.safetensors"), 3, "has no SHA-256"),
    (("checksums", "../../x"), "0" * 64, "has no SHA-256 of one of model.safetensors"),
    (("format",), MISSING, "'format' is missing"),
    (("format",), 99, "has format 99, this version reads up to 7: update cign"),
    (
        ("format",),
        1,
        "reads 6 to 7: train it again with `cign train STORE --out RUN --method cign_analytic`",
    ),
    (("odd",), DEEP, "nested more than 50 deep"),
]


@pytest.mark.parametrize(
    ("place", "value", "sentence"), MUTATIONS, ids=[str(i) for i in range(len(MUTATIONS))]
)
def test_a_changed_description_is_refused_in_one_sentence(place, value, sentence, folder, about):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    put(about, place, value)
    (folder / ABOUT).write_text(json.dumps(about))
    with pytest.raises(InputError) as refused:
        load_model(folder)
    text = str(refused.value)
    assert any(part in text for part in sentence.split("|")), text
    assert text.isprintable()
    assert len(text) < 600
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", r"it is \[\], not a mapping"),
        ("null", "it is None, not a mapping"),
        ("[" * 100_000, "cannot be read"),
        ('{"format": ' + "1" * 5000 + "}", "cannot be read"),
        ("{", "cannot be read"),
    ],
)
def test_what_is_no_description(text, sentence, folder, about):
    (folder / ABOUT).write_text(text)
    with pytest.raises(InputError, match=sentence):
        load_model(folder)


def test_a_description_of_any_size_is_not_read(folder, about, monkeypatch):
    monkeypatch.setattr("cign.saved_model.files.MOST_BYTES", 1000)
    with input_error("damaged", "1000"):
        load_model(folder)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"depth": 10**9}, r"depth 1e\+09, but its weights have \d+ tensors"),
        ({"width": 10**6}, "has shape|lacks weight|unknown weight"),
        ({"width": 2**62}, "cannot be built|has shape"),
        ({"num_heads": 0}, "does not divide by"),
        ({"num_heads": 7}, "does not divide by"),
    ],
)
def test_networks_that_the_weights_are_not_of(options, sentence, deep_folder):
    path = deep_folder / ABOUT
    text = path.read_text()
    about = json.loads(text)
    about["options"] |= options
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path.write_text(json.dumps(about))
    try:
        with pytest.raises(InputError, match=sentence):
            load_model(deep_folder)
    finally:
        path.write_text(text)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert load_model(deep_folder).method.name == "finetune"


def test_a_score_that_the_method_cannot_give(deep_folder, about):
    path = deep_folder / ABOUT
    text = path.read_text()
    path.write_text(json.dumps({**json.loads(text), "unknown": about["unknown"]}))
    with input_error("unknown-name", "unknown score of finetune", "'combined'"):
        load_model(deep_folder)
    path.write_text(text)


def places(value, place=()):
    """Every place of a description."""
    if place:
        yield place
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, item in value.items() if isinstance(value, dict) else ():
        yield from places(item, (*place, key))


values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, 0, 10**9, 10**18, 2**63, 10**100]),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(["../../etc", "/etc/passwd", "\x1b[0m", "small"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@settings(
    max_examples=80,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_other_value_at_any_place_is_taken_or_refused(data, folder, about):
    changed = copy.deepcopy(about)
    place = data.draw(st.sampled_from(sorted(places(about), key=str)))
    put(changed, place, data.draw(st.one_of(st.just(MISSING), values)))
    (folder / ABOUT).write_text(json.dumps(changed))
    with contextlib.suppress(InputError):
        load_model(folder)


def test_backbones_of_models_on_a_hub():
    named = {"name": "small", "record": None}
    for name in ("small", "resnet18@4x4", "a/b+c/d.e-f@2x2+1x3", "small-stem", "facebook/pe-av-s"):
        check_backbone({**named, "name": name}, "model m")
    for name in ("/etc", "../a", "./a", "a/b/c", "~/a", "a+/b", "/a+small", "a/..", "..", "a\\b"):
        with input_error("unsupported", "model m"):
            check_backbone({**named, "name": name}, "model m")
    check_backbone({"name": "/a/b", "record": {"visual": {}}}, "model m")  # built without it
