"""Background in folders of clips: `cign prepare`, `cign train` and `cign add`."""

import json
import shutil

import pytest

from cign.data.store import Store
from cign.saved_model.files import read_about

from .adding import OPTIONS


@pytest.fixture
def background(tiny, rows, tmp_path):
    """A source with nothing but background."""
    folder = tmp_path / "source" / "_background"
    folder.mkdir(parents=True)
    for number, row in enumerate(rows[0][:3]):
        shutil.copy(tiny[0] / row["path"], folder / f"{number}.mp4")
    return folder.parent


def test_a_source_of_background_alone_is_added(cign, model, background, tiny):
    code, out, err = cign("add", model, background, "--workers", 0)
    assert code == 0, err
    assert "background, with none of the classes: 3 clips" in out
    about = read_about(model)
    assert about["background"] == 3
    assert about["changes"][-1]["text"] == "3 clips of background"
    code, out, _ = cign("versions", model)
    assert code == 0
    assert "background clips" in out
    code, out, err = cign("add", model, background, "--workers", 0, "--json")
    assert json.loads(out)["background"] == 3


def test_folders_of_classes_with_background_are_prepared_and_learned(
    cign, background, tiny, rows, tmp_path
):
    by_class = {name: [r for r in rows[0] if r["labels"] == name] for name in rows[1][:2]}
    for name, some in by_class.items():
        place = background / name
        place.mkdir()
        for number, row in enumerate(some[:4]):
            shutil.copy(tiny[0] / row["path"], place / f"{number}.mp4")
    command = ("--backbone", "small-random", "--workers", 0)
    code, _, err = cign("prepare", background, tmp_path / "store", *command)
    assert code == 0, err
    assert "3 clips are background, with none of the classes" in err
    store = Store.open(tmp_path / "store")
    assert store.class_names == tuple(sorted(by_class))
    assert store.info["format"] == 2
    assert store.table.num_background == 3
    options = [f"{name}={json.dumps(value)}" for name, value in OPTIONS["cign_analytic"].items()]
    settings = [part for one in options for part in ("--set", one)]
    run = tmp_path / "run"
    code, _, err = cign("train", tmp_path / "store", "--out", run, "--tasks", 1, *settings)
    assert code == 0, err
    num_train = sum(clip.split == "train" and clip.is_background for clip in store.table.clips)
    assert read_about(run / "model")["background"] == num_train > 0
    for facts in ("store", background):
        _, _, err = cign("inspect", tmp_path / "store" if facts == "store" else facts)
        assert "3 clips are background" in err
