"""What loggers write, read back by the packages' own readers, also after a resumption."""

import csv
import importlib.util
import json
import logging
import struct

import pytest

from cign.errors import InputError
from cign.tracking.csv_log import CsvLog
from cign.tracking.mlflow_log import MlflowLog
from cign.tracking.registry import CALLBACKS, make_callbacks
from cign.tracking.tensorboard_log import TensorBoardLog
from cign.tracking.wandb_log import WandbLog
from cign.training.callbacks import Callback, task_metrics
from cign.vocabulary import LOGGERS
from refusals import input_error

from .runs import EPOCHS, STEPS, TASKS, Recorder, goes_on, killed_after, make, watched


def needs(package):
    missing = importlib.util.find_spec(package) is None
    return pytest.mark.skipif(
        missing, reason=f"{package} is not installed: `pip install {package}`"
    )


def quick(logger, every_steps=2):
    logger.every_steps = every_steps
    return logger


def values_told():
    """Numbers and values of the run, by axis and name, as a callback is told them."""
    told = Recorder(every_steps=2)
    loop = watched(make(), None, told)
    found = {}
    for step in told.of("step"):
        for name, value in {**step.losses, "learning_rate": step.learning_rate}.items():
            found.setdefault(("steps", name), []).append((step.number, value))
    for epoch in told.of("epoch"):
        for name, value in epoch.losses.items():
            found.setdefault(("epochs", name), []).append((epoch.number, value))
    for task in told.of("task"):
        for name, value in task.metrics.items():
            found.setdefault(("tasks", name), []).append((task.number, value))
    assert len(found["steps", "audio"]) == STEPS // 2
    assert len(found["epochs", "audio"]) == EPOCHS
    assert len(found["tasks", "last_audio_visual"]) == TASKS
    assert found["tasks", "last_audio"][-1][1] == task_metrics(loop.predictions)["last_audio"]
    return found


@pytest.fixture(scope="module")
def told():
    return values_told()


def check(found, told, rel=1e-6):
    """The same numbers, once each and in order, with the same values."""
    assert found.keys() == told.keys()
    for key, pairs in told.items():
        assert [number for number, _ in found[key]] == [number for number, _ in pairs], key
        values = [value for _, value in pairs]
        assert [value for _, value in found[key]] == pytest.approx(values, rel=rel), key


# csv


def read_csv(folder):
    found = {}
    for axis in ("steps", "epochs", "tasks"):
        with (folder / f"{axis}.csv").open(newline="") as file:
            for row in csv.DictReader(file):
                number = int(next(iter(row.values())))
                found.setdefault((axis, row["name"]), []).append((number, float(row["value"])))
    return found


def test_csv_holds_every_value_once(told, tmp_path):
    watched(make(), tmp_path, quick(CsvLog()))
    check(read_csv(tmp_path / "log"), told, rel=0)


@pytest.mark.parametrize(("died", "saved"), [(3, 1), (7, 5), (12, 6), (12, 12), (17, 13)])
def test_csv_of_a_killed_and_resumed_run_is_that_of_a_whole_one(died, saved, tmp_path):
    """The process dies after step ``died``; the last checkpoint is that of step ``saved``."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    watched(make(), whole, quick(CsvLog()))
    run.mkdir()
    killed_after(run, died, saved, quick(CsvLog()))
    with (run / "log" / "steps.csv").open("a") as file:
        file.write("18,3,tra")  # torn
    goes_on(run, quick(CsvLog()))
    for name in ("steps", "epochs", "tasks"):
        one, other = (folder / "log" / f"{name}.csv" for folder in (whole, run))
        assert one.read_text() == other.read_text(), name


def test_a_finished_run_that_is_resumed_changes_nothing(tmp_path):
    watched(make(tmp_path), tmp_path, quick(CsvLog()))
    before = {path: path.read_text() for path in (tmp_path / "log").iterdir()}
    goes_on(tmp_path, quick(CsvLog()))
    assert {path: path.read_text() for path in (tmp_path / "log").iterdir()} == before


def test_a_full_disk_ends_the_log_and_not_the_run(caplog):
    """`/dev/full` refuses what is written to it, as a full disk does."""

    class Full(CsvLog):
        def on_run_start(self, run):
            for name in ("steps", "epochs", "tasks"):
                self._files[name] = open("/dev/full", "w")  # noqa: PTH123, SIM115

    with caplog.at_level(logging.WARNING, "cign"):
        loop = watched(make(), None, Full())
    assert loop.place.task == TASKS
    (record,) = caplog.records
    assert "No space left on device" in record.message


def test_a_folder_that_cannot_be_written_is_reported(tmp_path, caplog):
    (tmp_path / "log").write_text("a file stands where the folder would")
    with caplog.at_level(logging.WARNING, "cign"):
        assert watched(make(), tmp_path, CsvLog()).place.task == TASKS
        assert watched(make(), None, CsvLog()).place.task == TASKS
    blocked, nowhere = caplog.records
    assert "CsvLog failed in on_run_start" in blocked.message
    assert "has no folder: give out=" in nowhere.message


# TensorBoard


def read_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for axis in ("steps", "epochs", "tasks"):
        events = EventAccumulator(str(folder / axis), size_guidance={"scalars": 0})
        events.Reload()
        for tag in events.Tags()["scalars"]:
            pairs = [(one.step, one.value) for one in events.Scalars(tag)]
            found[axis, tag.partition("/")[2] or tag] = pairs
    return found


@needs("tensorboard")
@pytest.mark.parametrize(("died", "saved"), [(None, None), (7, 5), (12, 6), (17, 13)])
def test_tensorboard_reads_every_value_once(died, saved, told, tmp_path):
    if died is None:
        watched(make(), tmp_path, quick(TensorBoardLog()))
    else:
        killed_after(tmp_path, died, saved, quick(TensorBoardLog()))
        goes_on(tmp_path, quick(TensorBoardLog()))
    check(read_tensorboard(tmp_path / "tensorboard"), told)


@needs("tensorboard")
def test_tensorboard_forgets_a_run_that_began_anew_in_its_folder(told, tmp_path):
    for _ in range(2):
        watched(make(), tmp_path, quick(TensorBoardLog()))
    check(read_tensorboard(tmp_path / "tensorboard"), told)


# MLflow


def read_mlflow(uri, run_id):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    run, found = client.get_run(run_id), {}
    axes = {"loss": "steps", "learning_rate": "steps", "epoch_loss": "epochs", "task": "tasks"}
    for name in run.data.metrics:
        group, _, short = name.partition("/")
        if group in axes:
            history = client.get_metric_history(run_id, name)
            pairs = [(one.step, one.value) for one in history]
            found[axes[group], short or group] = pairs
    return run, found


@needs("mlflow")
@pytest.mark.parametrize(("died", "saved"), [(None, None), (12, 6)])
def test_mlflow_holds_every_value_once(died, saved, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    if died is None:
        watched(make(), tmp_path / "run", quick(MlflowLog(uri)))
    else:
        (tmp_path / "run").mkdir()
        killed_after(tmp_path / "run", died, saved, quick(MlflowLog(uri)))
        goes_on(tmp_path / "run", quick(MlflowLog(uri)))
    run_id = json.loads((tmp_path / "run" / "log" / "mlflow.json").read_text())["run_id"]
    run, found = read_mlflow(uri, run_id)
    check(found, told)
    assert run.info.status == "FINISHED"
    assert run.data.params["options.training.batch_size"] == "5"
    assert run.data.metrics["cost/seconds"] == 2.0
    assert run.info.run_name == "toy"


@needs("mlflow")
def test_mlflow_is_told_how_a_run_ended(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"

    class Ends(Callback):
        def on_task_end(self, task):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watched(make(), tmp_path / "run", Ends(), MlflowLog(uri))
    run_id = json.loads((tmp_path / "run" / "log" / "mlflow.json").read_text())["run_id"]
    assert read_mlflow(uri, run_id)[0].info.status == "KILLED"


@needs("mlflow")
def test_a_server_that_does_not_answer_ends_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING, "cign"):
        loop = watched(make(), tmp_path, MlflowLog("http://127.0.0.1:9"))
    assert loop.place.task == TASKS
    assert [r.message for r in caplog.records if "MlflowLog failed in on_run_start" in r.message]


# Weights & Biases


BLOCK, FULL, FIRST, LAST = 32768, 1, 2, 4


def records_of(path):
    """Records of an offline file: a log of LevelDB after seven bytes of header."""
    data, at, parts = path.read_bytes(), 7, []
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:  # no room for a header: the rest of the block is empty
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        if not kind:
            break
        parts.append(data[at + 7 : at + 7 + length])
        at += 7 + length
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []


def read_wandb(folder):
    """Values in the files of an offline run, in the order in which `wandb sync` sends them."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # waits for the process that writes the files
    found, ids, config = {}, set(), {}
    axis_of = {"step": "steps", "epoch": "epochs", "task": "tasks"}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in records_of(path):
            record = Record()
            record.ParseFromString(data)
            if record.HasField("run"):
                ids.add(record.run.run_id)
                config |= {one.key: one.value_json for one in record.run.config.update}
            if record.HasField("history"):
                items = record.history.item
                row = {one.key or "/".join(one.nested_key): one.value_json for one in items}
                (axis,) = axis_of.keys() & row.keys()
                for name, value in row.items():
                    if name != axis and not name.startswith("_"):
                        key = (axis_of[axis], name.partition("/")[2] or name)
                        found.setdefault(key, []).append((int(row[axis]), float(value)))
    return found, ids, config


@needs("wandb")
@pytest.mark.parametrize(("died", "saved"), [(None, None), (12, 6)])
def test_wandb_files_hold_every_value_once(died, saved, told, tmp_path):
    if died is None:
        watched(make(), tmp_path, quick(WandbLog(mode="offline")))
    else:
        logger = quick(WandbLog(mode="offline"))
        killed_after(tmp_path, died, saved, logger)
        logger._run.finish()
        goes_on(tmp_path, quick(WandbLog(mode="offline")))
    found, ids, config = read_wandb(tmp_path)
    check(found, told)
    assert len(ids) == 1
    assert json.loads(config["options"])["training"]["batch_size"] == 5


# Names


def test_loggers_by_name():
    assert set(LOGGERS) <= set(CALLBACKS.names)
    (made,) = make_callbacks(["csv"], every_steps=7)
    assert isinstance(made, CsvLog)
    assert made.every_steps == 7
    own = Recorder()
    assert make_callbacks([own], every_steps=7) == [own]
    assert own.every_steps == 1


def test_what_is_no_callback_is_refused(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_callbacks.py").write_text(
        "from cign import Callback\n"
        "class Fine(Callback): pass\n"
        "class Needs(Callback):\n    def __init__(self, path): pass\n"
        "class Other: pass\n"
    )
    (fine,) = make_callbacks(["own_callbacks:Fine"])
    assert isinstance(fine, Callback)
    with input_error("plugin-import", "own_callbacks:Needs", "without arguments"):
        make_callbacks(["own_callbacks:Needs"])
    with input_error("plugin-contract", "own_callbacks:Other", "subclass of cign.Callback"):
        make_callbacks(["own_callbacks:Other"])
    with input_error("unknown-name", "'cvs'", "csv"):
        make_callbacks(["cvs"])
    with input_error("bad-value", "'csv' is given twice"):
        make_callbacks(["csv", "csv"])
    with input_error("plugin-contract", "42 is not a callback"):
        make_callbacks([42])


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_named(name, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda package: None if package == name else find(package)
    )
    with pytest.raises(InputError, match=f"`pip install {name}`, or the extra `track`"):
        make_callbacks([name])
