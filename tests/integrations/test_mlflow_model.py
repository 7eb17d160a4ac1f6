"""Models of MLflow: predictions through MLflow's own loader are those of the learner."""

import importlib.util
from pathlib import Path

import pytest

from cign.integrations import mlflow as models
from cign.learner import Learner
from refusals import input_error

needs_mlflow = pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None,
    reason="mlflow is not installed: `pip install mlflow`",
)


@pytest.fixture(scope="module")
def learner(tiny):
    return Learner("cign_analytic", options={"width": 30}).learn(tiny[1], tasks=2, progress=False)


@pytest.fixture
def clips(tiny):
    return sorted(map(str, (tiny[0] / "test").rglob("*.mp4")))[:3]


@pytest.fixture
def store(tmp_path, monkeypatch):
    import mlflow

    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield tmp_path
    mlflow.set_tracking_uri(None)


@needs_mlflow
def test_a_saved_model_predicts_by_mlflow(learner, clips, tmp_path):
    import mlflow
    import pandas as pd

    models.save_model(learner, tmp_path / "model")
    assert not list((tmp_path / "model").rglob("*.pkl"))  # nothing is pickled
    served = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    table = served.predict(pd.DataFrame({"path": [*clips, "missing.mp4"]}))
    wanted = learner.predict(clips, top=1, progress=False).to_dataframe()
    assert table["label"][:3].tolist() == wanted["label"].tolist()
    assert table["probability"][:3].tolist() == pytest.approx(wanted["probability"].tolist())
    assert table["unknown"][:3].tolist() == pytest.approx(wanted["unknown"].tolist())
    assert "does not exist" in table["error"][3]
    every = served.predict(pd.DataFrame({"path": clips[:1]}), params={"every_s": 0.5})
    assert len(every) > 1
    signature = mlflow.models.get_model_info(str(tmp_path / "model")).signature
    assert [one.name for one in signature.outputs] == list(table.columns)
    with pytest.raises(Exception, match="path"):
        served.predict(pd.DataFrame({"file": clips}))


@needs_mlflow
def test_a_logged_and_registered_model_is_loaded_as_a_learner(learner, clips, store):
    info = models.log_model(learner, registered_model_name="instruments")
    for uri in (info.model_uri, "models:/instruments/1"):
        loaded = models.load_model(uri)
        assert loaded.classes == learner.classes
        assert list(loaded.predict(clips)) == list(learner.predict(clips))


@needs_mlflow
def test_another_model_is_refused(tmp_path):
    import mlflow

    class Other(mlflow.pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return model_input

    mlflow.pyfunc.save_model(str(tmp_path / "other"), python_model=Other(), pip_requirements=[])
    with input_error("wrong-format", "is not a model of cign"):
        models.load_model(str(tmp_path / "other"))


def test_a_folder_that_holds_something_is_refused(learner, tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, tmp_path / "file", str(tmp_path)):
        with input_error("bad-output", path, "name a new one"):
            models.save_model(learner, path)


def test_without_mlflow_the_extra_is_named(learner, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "mlflow" else find(name)
    )
    with input_error("missing-package", "the extra `track`"):
        models.save_model(learner, Path(tmp_path))
