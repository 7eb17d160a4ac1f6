"""Two small stores of the same classes, and recipes that are done in a moment."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from cign.bench import BenchConfig, run_bench

QUICK = "{num_epochs: 1, min_steps: 0, batch_size: 8}"


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def stores(tiny, tmp_path_factory):
    """The tiny store, and its clips with training and test clips exchanged."""
    root = tmp_path_factory.mktemp("stores")
    one = shutil.copytree(tiny[1], root / "one")
    other = shutil.copytree(tiny[1], root / "other")
    info = json.loads((other / "store.json").read_text())
    # Turned by hand, so that its recorded checksum would not fit.
    del info["checksums"]
    (other / "store.json").write_text(json.dumps({**info, "list_hash": "0123abcd" * 8}))
    table = pq.read_table(other / "clips.parquet")
    turned = {"train": "test", "test": "train"}
    splits = pa.array([turned.get(split, split) for split in table["split"].to_pylist()])
    place = table.column_names.index("split")
    pq.write_table(table.set_column(place, "split", splits), other / "clips.parquet")
    return one, other


@pytest.fixture(scope="session")
def recipes(tmp_path_factory):
    """Quick recipes by name; `diverging` is finetune with a learning rate beyond all bounds."""
    folder = tmp_path_factory.mktemp("recipes")
    for name, method, training in (
        ("finetune", "finetune", QUICK),
        ("joint", "joint", QUICK),
        ("icarl", "icarl", QUICK),
        ("diverging", "finetune", QUICK.replace("}", ", learning_rate: 1.0e+37}")),
        ("longer", "finetune", QUICK.replace("num_epochs: 1", "num_epochs: 400")),
    ):
        text = f"method: {method}\noptions:\n  training: {training}\n"
        (folder / f"{name}.yaml").write_text(text)
    # One value of each option: with several the class order would matter.
    fixed = "pooling: [mean], temperature: [0.1], count_power: [0.0]"
    text = f"method: analytic\noptions: {{width: 30, ridge: [1.0], {fixed}, batch_size: 8}}\n"
    (folder / "analytic.yaml").write_text(text)
    return folder


@pytest.fixture(scope="session")
def two_methods(stores, recipes, tmp_path_factory):
    """A bench of two methods on two stores: folder, configuration and result; nobody changes it."""
    config = BenchConfig(
        stores=stores,
        recipes=recipes,
        methods=("finetune", "analytic"),
        tasks=(2,),
        against="analytic",
    )
    out = tmp_path_factory.mktemp("bench")
    return out, config, run_bench(config, out, num_workers=0)
