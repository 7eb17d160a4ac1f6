"""Estimators of scikit-learn: its own checks, the method behind them, classes added later."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from cign import Learner, Store
from cign.errors import InputError
from cign.sklearn import AnalyticClassifier, ClipClassifier
from refusals import input_error, run_error
from toy import FIXED

# The checks of scikit-learn that do not apply, by scaling, with the reason of each.
NOT_APPLICABLE = {
    "standard": {},
    "layer_norm": {
        "check_classifiers_train": "its data have two features, of which normalisation by row "
        "leaves one sign; this scaling is for the features of neural networks",
    },
}


@pytest.mark.parametrize("scaling", NOT_APPLICABLE)
def test_scikit_learn_accepts_the_estimator(scaling):
    estimator = AnalyticClassifier(width=60, ridge=1.0, scaling=scaling)
    excused = NOT_APPLICABLE[scaling]
    results = check_estimator(estimator, expected_failed_checks=excused, on_skip=None)
    assert len(results) > 50
    status = {}
    for one in results:
        status.setdefault(one["status"], set()).add(one["check_name"])
    assert "failed" not in status
    assert status.get("xfail", set()) == set(excused)
    # Skipped by scikit-learn itself, unless an environment variable asks for it.
    assert status.get("skipped", set()) <= {"check_array_api_input"}


def tokens(store, split):
    """Mean tokens [audio | visual] of a split, and class names."""
    cache, indices = store.tokens(), store.indices(split)
    means = [part(indices).astype(np.float64).mean(axis=1) for part in (cache.audio, cache.visual)]
    labels = np.array([store.table.clips[i].labels[0] for i in indices])
    return np.concatenate(means, axis=1), labels, means[0].shape[1]


def test_it_is_the_method_analytic_on_pooled_tokens(tiny):
    store = Store.open(tiny[1])
    options = {**FIXED["analytic"], "width": 50, "ridge": [5.0]}
    learner = Learner("analytic", options=options).learn(store, tasks=2, progress=False)
    method = learner.model.method
    X, y, split = tokens(store, "train")
    ours = AnalyticClassifier(num_audio_features=split, width=50, ridge=5.0).fit(X, y)
    X_test, y_test, _ = tokens(store, "test")
    cache, indices = store.tokens(), store.indices("test")
    with torch.inference_mode():
        wanted = method.predict(
            torch.from_numpy(cache.audio(indices)), torch.from_numpy(cache.visual(indices))
        )
    columns = [learner.classes.index(name) for name in ours.classes_]
    found = ours.predict_modalities(X_test)
    assert set(found) == {"audio", "visual", "audio_visual"}
    for name, probabilities in found.items():
        np.testing.assert_allclose(probabilities, wanted.probabilities[name][:, columns], atol=2e-4)
    np.testing.assert_array_equal(ours.predict_proba(X_test), found["audio_visual"])
    accuracy = 100 * ours.score(X_test, y_test)
    assert accuracy == pytest.approx(learner.metrics["modalities"]["audio_visual"]["last"])


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


@pytest.mark.parametrize("split", [None, 30])
def test_parts_in_any_order_give_the_model_of_all_clips_at_once(digits, split):
    X, y = digits
    at_once = AnalyticClassifier(num_audio_features=split, width=200).fit(X, y)
    later = np.argsort(-y, kind="stable")  # classes 9, 8, 7, ...: each comes later than the last
    parts = AnalyticClassifier(num_audio_features=split, width=200)
    for some in np.array_split(later, 7):
        parts.partial_fit(X[some], y[some])
    assert parts.classes_.tolist() == list(range(10))
    np.testing.assert_allclose(parts.predict_proba(X), at_once.predict_proba(X), atol=1e-8)
    assert at_once.score(X, y) > 0.95


def test_classes_that_may_come_have_columns_at_once(digits):
    X, y = digits
    few = y < 3
    model = AnalyticClassifier(width=50).partial_fit(X[few], y[few], classes=np.arange(10))
    assert model.predict_proba(X[:5]).shape == (5, 10)
    assert set(model.predict(X[few])) <= {0, 1, 2}
    again = AnalyticClassifier(width=50).fit(X, y).fit(X[few], y[few])  # fit forgets
    assert again.classes_.tolist() == [0, 1, 2]


def test_it_works_with_the_tools_of_scikit_learn(digits):
    X, y = digits
    scores = cross_val_score(AnalyticClassifier(width=200, ridge=1.0), X, y, cv=3)
    assert scores.min() > 0.9
    piped = make_pipeline(StandardScaler(), AnalyticClassifier(width=200, scaling="standard"))
    assert piped.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9
    fitted = AnalyticClassifier(width=50).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert clone(fitted).get_params() == fitted.get_params()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"scaling": "none"}, "scaling is 'none': use one of layer_norm, standard"),
        ({"precision": "half"}, "precision is 'half': use one of float32, float64"),
        ({"width": 0}, "must be at least 1"),
        ({"temperature": 0.0}, "must be at least 1, at least 0 and positive"),
        ({"num_audio_features": 64}, "num_audio_features is 64, X has 64 features"),
    ],
)
def test_wrong_parameters_are_refused_when_fitting(digits, parameters, message):
    with pytest.raises(ValueError, match=message):
        AnalyticClassifier(**parameters).fit(*digits)


def test_a_singular_solution_is_refused_in_one_sentence(digits):
    X, y = digits
    with run_error("singular", "modality features", "300"):
        AnalyticClassifier(width=300, ridge=0.0).fit(X[:50], y[:50])


def test_a_failed_fit_changes_nothing(digits):
    X, y = digits
    model = AnalyticClassifier(width=50, ridge=0.0)
    with run_error("singular", "50"):
        model.fit(X[:6], y[:6])
    with pytest.raises(NotFittedError):
        model.predict(X)
    wanted = AnalyticClassifier(width=50, ridge=0.0).fit(X, y).predict_proba(X)
    model.fit(X, y)
    with run_error("singular", "50"):
        model.fit(X[:6, :10], y[:6])
    np.testing.assert_array_equal(model.predict_proba(X), wanted)


def test_a_failed_partial_fit_can_be_repeated(digits):
    X, y = digits
    old = y < 5
    wanted = AnalyticClassifier(width=50).fit(X[old], y[old]).partial_fit(X[~old], y[~old])
    model = AnalyticClassifier(width=50).fit(X[old], y[old])
    with run_error("singular"):
        model.set_params(ridge=np.inf).partial_fit(X[~old], y[~old])
    assert model.classes_.tolist() == list(range(5))
    model.set_params(ridge=100.0).partial_fit(X[~old], y[~old])
    np.testing.assert_array_equal(model.predict_proba(X), wanted.predict_proba(X))


# ------------------------------------------------------------------------ clips


@pytest.fixture(scope="module")
def files(tiny):
    """Paths of clips and their classes."""

    def of(split):
        paths = sorted((tiny[0] / split).rglob("*.mp4"))
        return [str(path) for path in paths], [path.parent.name for path in paths]

    return of


def classifier(**changes):
    how = {"backbone": "small-random", "options": {"width": 60}, "num_workers": 0}
    return ClipClassifier(**{**how, **changes})


def test_classes_may_have_names_that_lists_read_otherwise(files):
    X, y = files("train")
    names = dict(zip(sorted(set(y)), ("none", "a:0.5", "scene:1", "_background"), strict=True))
    model = classifier().fit(X, [names[name] for name in y])
    assert set(model.predict(X[:4])) <= set(names.values())
    assert model.predict_proba(X[:4]).shape == (4, 4)


def test_clips_are_learned_and_predicted_from_their_paths(files, tiny):
    X, y = files("train")
    model = classifier().fit(X, y)
    assert model.classes_.tolist() == sorted(set(y))
    X_test, y_test = files("test")
    probabilities = model.predict_proba(X_test)
    assert probabilities.shape == (12, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    # What a learner on the prepared store says of the same files.
    learner = Learner("cign_analytic", options={"width": 60}).learn(tiny[1], progress=False)
    wanted = learner.predict(X_test, top=4, progress=False).all()
    told = [
        {e["label"]: e["probability"] for e in one.modalities["audio_visual"]} for one in wanted
    ]
    rows = [[one[name] for name in model.classes_] for one in told]
    np.testing.assert_allclose(probabilities, rows, atol=1e-4)
    assert model.predict(X_test).tolist() == [one.label for one in wanted]
    right = [one.label == name for one, name in zip(wanted, y_test, strict=True)]
    assert model.score(X_test, y_test) == np.mean(right)


def test_classes_are_added_without_the_old_clips(files):
    X, y = files("train")
    number = {name: i for i, name in enumerate(sorted(set(y)))}
    labels = np.array([number[name] for name in y])  # labels need not be text
    old = [i for i in range(len(y)) if labels[i] < 3]
    new = [i for i in range(len(y)) if labels[i] == 3]
    model = classifier().partial_fit([X[i] for i in old], labels[old])
    assert model.classes_.tolist() == [0, 1, 2]
    model.partial_fit([X[i] for i in new], labels[new])
    assert model.classes_.tolist() == [0, 1, 2, 3]
    assert model.predict_proba(X[:3]).shape == (3, 4)
    assert model.predict(X[:3]).dtype == labels.dtype


@pytest.mark.parametrize(
    "labels",
    [
        [0.0, 1.0, 2.0, 3.0],
        ["1.5", "dog", "cat", "0.0"],
        ["dog ", "cafe\u0301", "cat", "bird"],  # NFD
    ],
)
def test_labels_are_predicted_as_they_were_given(files, labels):
    X, y = files("train")
    of_class = dict(zip(sorted(set(y)), labels, strict=True))
    y = np.array([of_class[name] for name in y])
    old = np.flatnonzero(np.isin(y, labels[:3]))
    new = np.flatnonzero(y == np.asarray(labels)[3])
    at_once = classifier().fit(X, y)
    parts = classifier().partial_fit([X[i] for i in old], y[old])
    parts.partial_fit([X[i] for i in new], y[new])
    for model in (at_once, parts):
        assert model.classes_.tolist() == np.unique(labels).tolist()
        assert set(model.predict(X)) <= set(labels)


def test_labels_that_are_the_same_class_are_refused(files):
    X, y = files("train")
    model = classifier().fit(X, y)
    with input_error("bad-value", "dog ", "dog"):
        classifier().fit(X[:2], ["dog", "dog "])
    with input_error("bad-value", f"{y[-1]} ", y[-1]):
        model.partial_fit(X[-1:], [f"{y[-1]} "])
    with input_error("bad-list", "y", "nan"):
        classifier().fit(X[:2], ["dog", np.nan])


def test_names_of_files_need_not_be_text(files, tmp_path):
    X, y = files("train")
    odd = shutil.copy(X[0], tmp_path / "caf\udce9.mp4")
    model = classifier().fit([odd, *X[1:]], y)
    assert model.predict([odd]).tolist() == model.predict(X[:1]).tolist()


def test_clips_that_cannot_be_used_are_named(files, tiny, tmp_path):
    X, y = files("train")
    with input_error("bad-value", "24", "1"):
        classifier().fit(X, ["one"])
    model = classifier().fit(X, y)
    with input_error("bad-clip", "none.mp4"):
        model.predict([tmp_path / "none.mp4"])
    with pytest.raises(InputError, match="is a folder: name a file"):
        model.predict([tiny[0]])
    gradient = classifier(
        method="finetune", options={"training": {"num_epochs": 1, "min_steps": 0, "batch_size": 8}}
    )
    gradient.fit(X, y)
    with input_error("unsupported", "finetune", "analytic or cign_analytic"):
        gradient.partial_fit(X, y)
