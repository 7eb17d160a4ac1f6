"""What can be done with a store of features and a model trained on it, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from cign import Learner, prepare
from cign.app.service import Service
from cign.data.store import Store
from cign.errors import InputError
from cign.methods import default_recipe
from cign.utils.options import with_settings

from .feature_arrays import arrays, as_npz

QUICK = ("training.num_epochs=2", "training.min_steps=0", "training.batch_size=8")
SMALL = {"width": 50}  # of closed-form methods; all their candidates remain


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of named features, another one of the same encoders, and a run of `analytic`."""
    root = tmp_path_factory.mktemp("made")
    for seed, name in ((0, "store"), (1, "other")):
        prepare(arrays(seed=seed), root / name, backbone="openl3", progress=False)
    learner = Learner("analytic", options=SMALL, seed=1)
    learner.learn(root / "store", out=root / "run", tasks=2, progress=False)
    return root


def done(result):
    code, out, err = result
    assert code == 0, err
    return out


def test_the_command_prepares_and_shows_the_report(tmp_path, cign):
    source = as_npz(tmp_path, arrays())
    out = done(cign("prepare", source, tmp_path / "store", "--backbone", "openl3"))
    assert "48 of 48 clips usable, tokens of features:openl3" in out
    assert "no two splits share a recording" in out
    out = done(cign("inspect", tmp_path / "store", "--verify"))
    assert "tokens of features:openl3; no media" in out
    assert "the check of the features found no problem" in out
    assert "tokens of features:openl3: intact" in out
    assert "frames and audio" not in out
    out = done(cign("inspect", source, "--json"))
    assert json.loads(out)["num_clips"] == 48
    with (tmp_path / "store/tokens/features:openl3/audio.npy").open("r+b") as file:
        file.seek(400)
        file.write(b"12")
    code, _, err = cign("inspect", tmp_path / "store", "--verify")
    assert (code, "checksum of audio.npy does not match" in err) == (2, True)


@pytest.mark.parametrize(
    "option",
    [
        ("--tokens", "pooled"),
        ("--frames", 2),
        ("--preset", "small"),
        ("--workers", 0),
        ("--benchmark", "ave-28"),
        ("--device", "cpu"),
        ("--media", "."),
    ],
    ids=lambda option: option[0],
)
def test_options_for_clips_are_refused(option, tmp_path, cign):
    source = as_npz(tmp_path, arrays())
    code, _, err = cign("prepare", source, tmp_path / "store", *option)
    assert code == 2
    assert f"{option[0]} has no effect" in err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("method", ["analytic", "cign_analytic", "cign", "podnet"])
def test_methods_learn_from_features(method, made, tmp_path):
    is_closed = method.endswith("analytic")
    settings = {"analytic": ("width=50",), "cign_analytic": ()}.get(method, QUICK)
    options = with_settings(default_recipe(method).options, settings)
    learner = Learner(method, options=options, memory="2/class", seed=1)
    learner.learn(made / "store", out=tmp_path / "run", tasks=2, progress=False)
    assert learner.metrics["config"]["backbone"] == "features:openl3"
    before = learner.evaluate(made / "other")
    after = Learner.load(tmp_path / "run").evaluate(made / "other")
    assert before == after
    if is_closed:
        assert after["modalities"]["audio_visual"]["last"] > 90
        assert after["modalities"]["visual"]["last"] > 90


def test_results_equal_those_of_the_same_tokens_from_clips(tiny, tmp_path):
    """Tokens taken from a store of clips and given as features lead to the same predictions."""
    store = Store.open(tiny[1])
    tokens, every = store.tokens(), np.arange(store.num_clips)
    values = {
        "audio": tokens.audio(every),
        "visual": tokens.visual(every),
        "labels": [clip.labels for clip in store.table.clips],
        "split": [clip.split for clip in store.table.clips],
        "id": [clip.id for clip in store.table.clips],
    }
    prepare(values, tmp_path / "store", progress=False)
    found = []
    for folder in (tiny[1], tmp_path / "store"):
        learner = Learner("cign_analytic", options=SMALL, seed=1).learn(
            folder, tasks=2, progress=False
        )
        learner.evaluate(folder, out=tmp_path / f"{len(found)}.csv")
        lines = (tmp_path / f"{len(found)}.csv").read_text().splitlines()
        found.append([line.partition(",")[2] for line in lines])  # without the path
    assert found[0] == found[1]


def test_a_bench_a_report_and_metrics(made, tmp_path, cign):
    for method in ("analytic", "cign_analytic"):
        (tmp_path / f"{method}.yaml").write_text(f"method: {method}\noptions: {{width: 50}}\n")
    done(
        cign(
            *("bench", made / "store", "--out", tmp_path / "bench", "--tasks", 2),
            *("--methods", "analytic,cign_analytic", "--recipes", tmp_path),
            *("--test-store", made / "other"),
        )
    )
    assert "cign_analytic" in (tmp_path / "bench" / "table.md").read_text()
    done(cign("report", made / "run", "--out", tmp_path / "report.html"))
    assert "analytic" in (tmp_path / "report.html").read_text()
    assert "Class-incremental learning" in done(cign("metrics", made / "run"))


def test_a_model_is_extended_by_a_store_and_by_features(made, tmp_path, cign):
    shutil.copytree(made / "run" / "model", tmp_path / "model")
    new = arrays(seed=2, classes=("elk", "fox"))
    new["audio"] += 4 * np.eye(16)[8]  # apart from the first classes
    new["visual"] += 4 * np.eye(24)[8]
    prepare(new, tmp_path / "new", backbone="openl3", progress=False)
    out = done(cign("add", tmp_path / "model", tmp_path / "new"))
    assert "new classes: elk (" in out
    learner = Learner.load(tmp_path / "model")
    assert learner.classes == ("ape", "bee", "cat", "dog", "elk", "fox")
    assert learner.evaluate(tmp_path / "new")["modalities"]["audio_visual"]["last"] > 90
    del new["split"], new["id"]
    addition = Learner.load(made / "run").add(as_npz(tmp_path, new), progress=False)
    # Without splits all clips are learned, except those that are kept for validation.
    assert sum(addition.new.values()) + addition.num_new_kept == 48


def test_features_of_other_encoders_are_refused(made, tmp_path):
    learner = Learner.load(made / "run")
    narrow = arrays() | {"audio": arrays()["audio"][:, :8]}
    for name, values, message in (
        ("openl3", narrow, "has features of another shape than the model"),
        ("vggish", arrays(), r"no tokens of backbone 'features:openl3' \(available: features:vgg"),
    ):
        prepare(values, tmp_path / name, backbone=name, progress=False)
        for use in (learner.evaluate, learner.add):
            with pytest.raises(InputError, match=message):
                use(tmp_path / name)


def test_features_without_a_name_suit_only_their_own_store(tmp_path):
    for seed in (0, 1):
        prepare(arrays(seed=seed), tmp_path / str(seed), progress=False)
    learner = Learner("analytic", options=SMALL).learn(tmp_path / "0", progress=False)
    assert learner.evaluate(tmp_path / "0")["num_clips"] == 8
    with pytest.raises(InputError, match=r"encoders are not named: .* --backbone NAME"):
        learner.evaluate(tmp_path / "1")


def test_clips_without_audio_are_learned_if_asked(tmp_path):
    values = arrays()
    values["audio"][:] = 0
    prepare(values, tmp_path / "store", progress=False)
    with pytest.raises(InputError, match="--allow-missing"):
        Learner("analytic", options=SMALL).learn(tmp_path / "store", progress=False)
    learner = Learner("analytic", options=SMALL, allow_missing=True).learn(
        tmp_path / "store", progress=False
    )
    assert learner.evaluate(tmp_path / "store")["modalities"]["audio_visual"]["last"] > 90


def test_what_needs_encoders_is_refused_in_one_sentence(made, tiny, tmp_path, cign):
    clip = next((tiny[0] / "test").rglob("*.mp4"))
    run, store = made / "run", made / "store"
    for command in (
        ("predict", run, clip),
        ("predict", run, clip, "--explain", tmp_path / "maps", "--explain-as", "mp4"),
        ("export", run, tmp_path / "out"),
    ):
        code, out, err = cign(*command)
        assert (code, out) == (2, "")
        assert "features that were computed elsewhere by openl3, so files cannot be" in err
    with pytest.raises(InputError, match="so files cannot be encoded"):
        Service(run)
    code, _, err = cign("add", run / "model", tiny[0], "--out", tmp_path / "model")
    assert code == 2
    assert "so files cannot be encoded" in err
    code, _, err = cign("train", store, "--out", tmp_path / "run", "--regime", "end-to-end")
    assert code == 2
    assert "was prepared from features and holds no frames or audio" in err
    code, _, err = cign("inspect", store, "--listen")
    assert code == 2
    assert "holds no frames or audio" in err
    code, _, err = cign("inspect", as_npz(tmp_path, arrays()), "--decode")
    assert code == 2
    assert "holds features" in err


def test_features_are_not_added_to_a_model_of_clips(tiny, tmp_path):
    learner = Learner("analytic", options=SMALL).learn(tiny[1], progress=False)
    with pytest.raises(InputError, match="holds features, but the model takes clips"):
        learner.add(as_npz(tmp_path, arrays()))


def test_a_description_must_not_claim_features_of_encoders(made, tmp_path):
    about = json.loads((made / "run/model/model.json").read_text())
    assert about["preprocessing"] is None
    for change in ({"preprocessing": {"num_frames": 1}}, {"regime": "end-to-end"}):
        shutil.copytree(made / "run/model", tmp_path / "model", dirs_exist_ok=True)
        (tmp_path / "model/model.json").write_text(json.dumps(about | change))
        with pytest.raises(InputError, match="does not describe a model"):
            Learner.load(tmp_path / "model")


def test_features_are_predicted_as_in_an_evaluation(made, tmp_path):
    learner = Learner.load(made / "run")
    values = arrays(seed=1)
    values["audio"][46] = 0
    values["visual"][47] = 0
    prepare(values, tmp_path / "store", backbone="openl3", progress=False)
    learner.evaluate(tmp_path / "store", out=tmp_path / "results.json")
    results = {one["clip"]: one for one in json.loads((tmp_path / "results.json").read_text())}
    test = values["split"] == "test"
    found = learner.predict_features(
        values["audio"][test], values["visual"][test], ids=values["id"][test].tolist()
    ).all()
    assert len(found) == len(results) == 8
    for one in found:
        assert one.label == results[one.file]["predicted_label"]
        assert one.probability == pytest.approx(results[one.file]["probability"], abs=1e-5)
        assert one.unknown == pytest.approx(results[one.file]["unknown"], abs=1e-5)
    assert [one.missing for one in found[-2:]] == [["audio"], ["visual"]]
    assert found[0].start_s is found[0].end_s is None


def test_features_that_do_not_suit_a_model_are_not_predicted(made, tiny):
    learner, values = Learner.load(made / "run"), arrays()
    audio, visual = values["audio"][:4], values["visual"][:4]
    nothing = learner.predict_features(audio * 0, visual * np.float32([[[0]], [[1]]] * 2)).all()
    assert [one.error is None for one in nothing] == [False, True, False, True]
    for wrong, message in (
        ((audio[:, :8], visual), r"shape \[4, 1, 8\], but the model was trained on 1 x 16"),
        ((audio, visual[:3]), "4 rows of audio, 3 of visual and 4 ids"),
        ((audio * np.nan, visual), "NaN or infinite values in 4 of 4 clips"),
        ((audio * 1e6, visual), "float16"),
        ((audio.astype(int), visual), "values of type int64"),
    ):
        with pytest.raises(InputError, match=message):
            learner.predict_features(*wrong)
    with pytest.raises(InputError, match="must be in"):
        learner.predict_features(audio, visual, unknown_threshold=2)
