"""`from cign import ...`: quick to import, typed; what `Learner.predict` takes and gives."""

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

import cign
from cign import ArrayClip, Learner, Prediction, to_columns, to_dataframe
from cign.data.media.decode import decode
from cign.errors import InputError
from cign.inference.prediction_stream import PredictionStream
from refusals import input_error, run_error

MODALITIES = ("audio", "visual", "audio_visual")


@pytest.fixture(scope="module")
def learner(tiny):
    return Learner("cign_analytic", options={"width": 60}).learn(tiny[1], tasks=2, progress=False)


@pytest.fixture(scope="module")
def clips(tiny):
    return sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))


def assert_alike(one, other):
    """Check that two predictions differ by no more than batches of other sizes make them."""
    assert one.label == other.label
    for name in MODALITIES:
        told, wanted = (
            {entry["label"]: entry["probability"] for entry in x.modalities[name]}
            for x in (one, other)
        )
        assert told == pytest.approx(wanted, abs=1e-5)


# ---------------------------------------------------------------- import cign


def test_import_takes_milliseconds_and_loads_nothing_heavy():
    code = (
        "import sys, time; began = time.perf_counter(); import cign; "
        "took = time.perf_counter() - began; cign.Prediction; "
        "heavy = {'torch', 'numpy', 'av', 'pyarrow', 'sklearn', 'rich'} & set(sys.modules); "
        "print(took); sys.exit(str(heavy) if heavy else 0)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        for _ in range(3)
    ]
    assert all(done.returncode == 0 for done in runs), runs
    assert min(float(done.stdout) for done in runs) < 0.1


def test_public_names_are_there_and_no_others():
    assert set(cign.__all__) <= set(dir(cign))
    for name in cign.__all__:
        assert getattr(cign, name) is not None
    from cign.runs.preparing import prepare

    assert cign.prepare is prepare
    with pytest.raises(AttributeError, match="module 'cign' has no attribute 'Lerner'"):
        _ = cign.Lerner
    with pytest.raises(ImportError, match="Lerner"):
        from cign import Lerner  # noqa: F401


def test_the_imports_for_type_checkers_are_those_made_at_run_time():
    tree = ast.parse(Path(cign.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    typed = {one.asname: node.module for node in block.body for one in node.names}
    assert typed == cign._PUBLIC
    assert set(cign.__all__) == {*typed, "__version__"}


@pytest.mark.slow
def test_a_type_checker_knows_the_public_names(tmp_path):
    api = pytest.importorskip("mypy.api")
    script = tmp_path / "use.py"
    script.write_text(
        "from cign import Learner, Prediction, Store, prepare\n"
        "learner = Learner.load('run')\n"
        "one: Prediction = learner.predict('a.mp4').one()\n"
        "reveal_type(one.label)\n"
        "reveal_type(Store.open('store'))\n"
        "learner.predikt('a.mp4')\n"
    )
    out, _, _ = api.run([str(script), "--cache-dir", str(tmp_path), "--follow-imports", "silent"])
    assert 'Revealed type is "str | None"' in out.replace("builtins.str", "str")
    assert 'Revealed type is "cign.data.dataset.Store"' in out
    assert '"Learner" has no attribute "predikt"' in out


# -------------------------------------------------------------------- predict


def test_one_path_a_folder_a_pattern_and_many_paths(learner, clips, tiny):
    wanted = learner.predict(clips, progress=False).all()
    assert [one.file for one in wanted] == clips
    assert all(one.label in learner.classes for one in wanted)
    assert_alike(learner.predict(clips[0]).one(), wanted[0])
    folder = tiny[0] / "test"
    for given in (clips, iter(clips), str(folder), folder, f"{folder}/*/*.mp4", [folder]):
        assert learner.predict(given, progress=False).all() == wanted


def test_arrays_give_the_prediction_of_their_file(learner, clips):
    """Exactly, where they are as the model takes them."""
    spec = learner.model.spec
    decoded = [decode(clip, spec) for clip in clips[:3]]
    wanted = learner.predict(clips[:3], progress=False).all()
    arrays = [
        ArrayClip(audio=one.audio, rate_hz=spec.rate_hz, frames=one.frames, name=clip)
        for one, clip in zip(decoded, clips, strict=False)
    ]
    found = learner.predict(arrays, progress=False).all()
    for one, other in zip(found, wanted, strict=True):
        assert {**one.to_dict(), "start_s": 0, "end_s": 0} == {
            **other.to_dict(),
            "start_s": 0,
            "end_s": 0,
        }
    one = decoded[0]
    by_keyword = learner.predict(audio=one.audio, rate_hz=spec.rate_hz, frames=one.frames).one()
    assert by_keyword.file == "array"
    assert_alike(by_keyword, wanted[0])
    batch = ArrayClip.batch(
        audio=np.stack([x.audio for x in decoded]),
        rate_hz=spec.rate_hz,
        frames=np.stack([x.frames for x in decoded]),
    )
    told = [one.modalities for one in learner.predict(batch, progress=False)]
    assert told == [one.modalities for one in wanted]


@pytest.mark.parametrize("has", ["audio", "visual"])
def test_arrays_of_one_modality_are_predicted_by_it(learner, clips, has):
    spec = learner.model.spec
    one = decode(clips[0], spec)
    given = (
        {"audio": one.audio, "rate_hz": spec.rate_hz} if has == "audio" else {"frames": one.frames}
    )
    found = learner.predict(**given).one()
    assert found.missing == [{"audio": "visual", "visual": "audio"}[has]]
    wanted = learner.predict(clips[0]).one()
    assert found.modalities["audio_visual"] == found.modalities[has] != []
    assert found.modalities[has] == wanted.modalities[has]


def test_files_and_arrays_mix_and_errors_keep_their_place(learner, clips, tmp_path):
    short = ArrayClip(audio=np.zeros(1000, np.float32), rate_hz=16000, name="short")
    given = [clips[0], short, str(tmp_path / "none.mp4"), clips[1]]
    found = learner.predict(given, progress=False).all()
    assert [one.file for one in found] == [clips[0], "short", given[2], clips[1]]
    assert [one.error is None for one in found] == [True, False, False, True]
    assert "short: it is 0.06 s long" in found[1].error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either clips or arrays"),
        ({"clips": "a.mp4", "rate_hz": 16000}, "give either clips or arrays"),
        ({"clips": 3}, "cannot predict a value of type int"),
        ({"clips": "a.mp4", "unknown_threshold": 2}, r"unknown_threshold is 2; it must be in \[0"),
        ({"audio": np.zeros(9)}, "audio and rate_hz go together"),
    ],
)
def test_what_cannot_be_predicted_is_refused_at_once(learner, arguments, message):
    with pytest.raises(InputError, match=message):
        learner.predict(**arguments)


def test_a_stream_is_iterated_once_and_collected_in_several_forms(learner, clips):
    stream = learner.predict(clips, progress=False)
    assert isinstance(stream, PredictionStream)
    first = next(stream)
    assert first.file == clips[0]
    assert [one.file for one in stream] == clips[1:]
    assert stream.all() == []
    with input_error("bad-value", "one()", len(clips)):
        learner.predict(clips, progress=False).one()
    closed = learner.predict(clips, progress=False)
    next(closed)
    closed.close()
    assert closed.all() == []


def test_predictions_convert_to_columns_without_pandas(learner, clips, tmp_path):
    found = learner.predict([clips[0], str(tmp_path / "none.mp4")], progress=False).all()
    columns = to_columns(found)
    table = pa.table(columns)  # the columns are a table, as another library sees it
    assert table.num_rows == 2
    row = {name: values[0] for name, values in columns.items()}
    assert list(row) == [
        *("file", "start_s", "end_s", "label", "probability", "unknown", "is_unknown"),
        *("audio_label", "audio_probability", "visual_label", "visual_probability"),
        *("missing", "error", "error_code", "labels", "below_threshold"),
    ]
    assert row["file"] == clips[0]
    assert (row["label"], row["probability"]) == found[0].best("audio_visual")
    assert (row["visual_label"], row["visual_probability"]) == found[0].best("visual")
    assert [columns[name][1] for name in ("label", "probability", "is_unknown")] == [None] * 3
    assert "does not exist" in columns["error"][1]
    assert columns["error_code"] == [None, "file-missing"]
    assert learner.predict(clips[0]).to_columns() == {k: v[:1] for k, v in columns.items()}


def test_a_dataframe_needs_pandas_and_says_so(learner, clips, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with run_error("missing-package", "pandas"):
        learner.predict(clips[0]).to_dataframe()
    made = SimpleNamespace(DataFrame=lambda columns: ("frame", columns))
    monkeypatch.setitem(sys.modules, "pandas", made)
    kind, columns = learner.predict(clips[0]).to_dataframe()
    assert kind == "frame"
    assert columns["file"] == [clips[0]]
    assert to_dataframe([]) == ("frame", {name: [] for name in columns})


def test_to_dict_has_the_names_of_the_contract(learner, clips):
    names = (
        "file start_s end_s label unknown is_unknown unknown_threshold unknown_evidence "
        "why_unknown modalities labels threshold below_threshold missing error error_code"
    )
    good = learner.predict(clips[0]).one().to_dict()
    failed = Prediction(file="caf\udce9.mp4", error="unreadable").to_dict()
    for one in (good, failed):
        assert list(one) == names.split()
        assert tuple(one["modalities"]) == MODALITIES
    assert failed["file"] == r"caf\xe9.mp4"
    assert failed["modalities"] == {name: [] for name in MODALITIES}
    assert (failed["label"], failed["is_unknown"], failed["unknown"]) == (None, None, None)


# ------------------------------------------------------------- repr and classes


def test_repr_and_classes_say_what_a_learner_is(learner, tiny):
    from cign import Store

    assert learner.classes == learner.model.classes
    assert set(learner.classes) == set(Store.open(tiny[1]).class_names)
    device = learner.config.compute.device
    assert repr(learner) == (
        "Learner('cign_analytic', 4 classes in 2 tasks, backbone='small-random', "
        f"regime='frozen', device='{device}')"
    )
    fresh = Learner("finetune")
    assert fresh.classes == ()
    assert repr(fresh) == (
        f"Learner('finetune', not trained, backbone=None, regime='frozen', device='{device}')"
    )


def test_prepare_takes_the_name_of_a_backbone(tiny, tmp_path):
    report = cign.prepare(
        tiny[0], tmp_path / "store", backbone="small-random", num_workers=0, progress=False
    )
    assert report.store == tmp_path / "store"
    ours, theirs = cign.Store.open(tmp_path / "store"), cign.Store.open(tiny[1])
    rows = list(range(len(theirs.table.clips)))
    for kind in ("audio", "visual"):
        tokens = (getattr(store.tokens("small-random"), kind)(rows) for store in (ours, theirs))
        np.testing.assert_array_equal(*tokens)
    with input_error("unknown-name", "'smal'"):
        cign.prepare(tiny[0], tmp_path / "other", backbone="smal")
    assert not (tmp_path / "other").exists()
