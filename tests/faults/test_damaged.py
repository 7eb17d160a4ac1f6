"""Files that were cut short or have a flipped bit: refused in a sentence, or read as they were."""

import json
import random
import shutil

import pytest
import torch
from safetensors.torch import save_file

from cign.bench import config as bench_config
from cign.data.arrays import map_array, open_array
from cign.data.formats.features.rows import load_array
from cign.data.intact import check_media, check_tokens
from cign.data.prepare.journal import Journal
from cign.data.store import Store
from cign.errors import CignError, InputError
from cign.runs.configuration import RunConfig
from cign.runs.metrics_file import read_metrics
from cign.saved_model.folder import load_model
from cign.utils.checkpoint import load_tree, save_tree
from toy_model import toy_model

FLIPS = 40


def damage(path, seed):
    """Cut a file, or flip one bit of it."""
    draw, data = random.Random(f"{path.name} {seed}"), bytearray(path.read_bytes())
    if seed % 4 == 0:
        path.write_bytes(data[: draw.randrange(len(data))])
    else:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)


def told(read, what):
    """What a reader says of a damaged file: its value, or its one sentence."""
    try:
        return read()
    except CignError as error:
        if "\n" in str(error):
            pytest.fail(f"{what}: not one sentence: {error}")
        return str(error)
    except Exception as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}")


@pytest.mark.parametrize("name", ["clips.parquet", "frames.npy", "audio.npy"])
def test_a_store_with_a_flipped_bit_is_found_out(name, tiny, tmp_path):
    path = shutil.copytree(tiny[1], tmp_path / "store") / name
    whole = path.read_bytes()

    def read():
        check_media(Store.open(path.parent))

    for seed in range(FLIPS if name == "clips.parquet" else 8):
        path.write_bytes(whole)
        damage(path, seed)
        # The last rows may be those of clips that were left out, here there are none.
        assert isinstance(told(read, f"{name}, {seed}"), str), seed


@pytest.mark.parametrize("name", ["audio.npy", "visual.npy", "tokens.json", "checksums.json"])
def test_tokens_with_a_flipped_bit_are_found_out(name, tiny, tmp_path):
    folder = shutil.copytree(tiny[1], tmp_path / "store")
    path = folder / "tokens" / "small-random" / name
    whole = path.read_bytes()

    def read():
        store = Store.open(folder)
        check_tokens(store, "small-random")
        return store.tokens("small-random").info

    right = read()
    for seed in range(12):
        path.write_bytes(whole)
        damage(path, seed)
        found = told(read, f"{name}, {seed}")
        if name in ("audio.npy", "visual.npy"):
            assert "restore it" in found
        elif isinstance(found, dict):
            # Names and fingerprints are held against a backbone's when they are used.
            assert {k: v for k, v in found.items() if isinstance(v, int)} == {
                k: v for k, v in right.items() if isinstance(v, int)
            }


HEADERS = (
    "{'descr': '<f4",
    "{'descr': '<f4', 'shape': (3, \n",
    "{'shape': 1}",
    "(" * 90,
    "[3, 4]",
)


@pytest.mark.parametrize("header", HEADERS)
def test_an_array_with_a_damaged_header_is_refused(header, tmp_path):
    path = tmp_path / "audio.npy"
    text = header.ljust(118).encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64))
    for read in (lambda: map_array(path, (4, 4), "f4", "store"), lambda: open_array(path)):
        assert "damaged" in told(read, header)
    assert "damaged" in told(lambda: load_array(path), header)


def test_a_store_description_with_a_flipped_bit_never_crashes(tiny, tmp_path):
    folder = shutil.copytree(tiny[1], tmp_path / "store")
    whole = (folder / "store.json").read_bytes()

    def read():
        store = Store.open(folder)
        check_tokens(store, "small-random")
        return store.num_clips

    right = read()
    for seed in range(3 * FLIPS):
        (folder / "store.json").write_bytes(whole)
        damage(folder / "store.json", seed)
        assert told(read, seed) == right or isinstance(told(read, seed), str)


@pytest.mark.parametrize(
    ("name", "entry", "value"),
    [
        ("store.json", "class_names", ["cat", float("nan")]),
        ("store.json", "num_rows", float("inf")),
        ("report.json", "counts", {"train": {"cat": "1"}}),
        ("report.json", "counts", {"odd": {}}),
        ("report.json", "conditions", None),
        ("report.json", "notes", [1]),
        ("report.json", "num_usable", "x"),
        ("report.json", "shared_sources", [{"split": "test"}]),
        ("tokens/small-random/tokens.json", "audio_dim", "é"),
        ("tokens/small-random/tokens.json", "format", "1"),
    ],
)
def test_a_wrong_value_in_a_store_is_refused(name, entry, value, tiny, tmp_path):
    path = shutil.copytree(tiny[1], tmp_path / "store") / name
    path.write_text(json.dumps({**json.loads(path.read_text()), entry: value}))

    def read():
        store = Store.open(tmp_path / "store")
        return store.report, store.tokens("small-random")

    assert isinstance(told(read, name), str)


def test_a_model_with_a_flipped_bit_is_refused_or_says_the_same(tmp_path):
    from cign.saved_model.folder import save_model

    place = tmp_path / "model"
    save_model(toy_model(), place)
    for name in ("model.safetensors", "kept.safetensors"):
        whole = (place / name).read_bytes()
        for seed in range(8):
            damage(place / name, seed)
            assert "restore the folder" in told(lambda: load_model(place), f"{name}, {seed}")
            (place / name).write_bytes(whole)


def test_a_run_configuration_with_a_flipped_bit_never_crashes(tmp_path):
    RunConfig.of("finetune", tasks=(("a", "b"), ("ç",)), seed=3).save(tmp_path)
    path = tmp_path / "config.yaml"
    whole = path.read_bytes()
    for seed in range(4 * FLIPS):
        path.write_bytes(whole)
        damage(path, seed)
        told(lambda: RunConfig.load(tmp_path), seed)


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("tasks", 3),
        ("tasks", [["a"]]),
        ("classes", 0.5),
        ("config", []),
        ("code", [{"version": "1"}]),
        ("code", [{"version": "1", "commit": None, "dirty": 0}]),
        ("costs", {"seconds": "1"}),
        ("costs", {"seconds": float("nan")}),
        ("num_train_per_class", {"a": {}}),
        ("online", []),
        ("store", {"path": 1}),
        ("limit", []),
        ("note", "\ud800"),
    ],
)
def test_a_wrong_value_in_the_metrics_of_a_run_is_refused(entry, value, tmp_path):
    whole = {"classes": ["a", "b"], "tasks": [["a"], ["b"]], "costs": {"seconds": None}}
    (tmp_path / "metrics.json").write_text(json.dumps(whole))
    assert read_metrics(tmp_path) == whole
    (tmp_path / "metrics.json").write_text(json.dumps({**whole, entry: value}))
    assert "is damaged" in told(lambda: read_metrics(tmp_path), entry)


def test_a_checkpoint_with_a_flipped_bit_is_refused_or_says_the_same(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    tree = {
        "weights": [torch.arange(50.0), torch.tensor(3), torch.zeros(0), torch.ones(2, 3).bool()],
        "halves": {1: torch.ones(7, dtype=torch.bfloat16)},
        "task": 3,
    }
    save_tree(path, tree)
    whole = path.read_bytes()
    right = repr(load_tree(path))
    for seed in range(3 * FLIPS):
        path.write_bytes(whole)
        damage(path, seed)
        found = told(lambda: load_tree(path), seed)
        # A flipped bit in the name of the checksum hides it, but the content is as it was.
        assert isinstance(found, str) or repr(found) == right, seed


def test_a_checkpoint_of_a_version_without_checksums_is_read(tmp_path):
    header = json.dumps({"weights": {"$tensor": "0"}})
    metadata = {"format": "4", "tree": header}
    save_file({"0": torch.arange(3.0)}, tmp_path / "old", metadata=metadata)
    assert load_tree(tmp_path / "old")["weights"].tolist() == [0, 1, 2]


def test_a_damaged_line_of_the_journal_is_done_again(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "f")
    for row in range(5):
        journal.add({"row": row, "conditions": [], "duration_s": 1.5})
    journal.close()
    whole = path.read_bytes()
    place = whole.index(b'"row": 3') + len('"row": ')
    path.write_bytes(whole[:place] + b"1" + whole[place + 1 :])
    again = Journal(path, "f")
    assert sorted(again.answers) == [0, 1, 2, 4]
    again.close()
    path.write_bytes(b"x" + whole[1:])
    with pytest.raises(InputError, match="another list or with other settings"):
        Journal(path, "f")


def test_a_damaged_bench_description_is_one_sentence(tmp_path):
    path = tmp_path / "bench.json"
    wanted = {"methods": {"finetune": "x"}, "tasks": [2]}
    bench_config.begin(tmp_path, wanted)
    whole = path.read_bytes()
    for seed in range(FLIPS):
        path.write_bytes(whole)
        damage(path, seed)
        told(lambda: bench_config.begin(tmp_path, wanted), seed)


def test_damage_is_told_by_inspect(cign, tiny, tmp_path):
    folder = shutil.copytree(tiny[1], tmp_path / "store")
    code, out, _ = cign("inspect", folder, "--verify")
    assert code == 0
    assert "tokens of small-random: intact" in out
    (folder / "tokens" / "small-random" / "checksums.json").unlink()
    code, out, _ = cign("inspect", folder, "--verify", "--json")
    parts = {"frames and audio": True, "tokens of small-random": False}
    assert json.loads(out)["verified"] == parts
    path = folder / "audio.npy"
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)
    code, out, err = cign("inspect", folder, "--verify")
    assert (code, out) == (2, "")
    assert "frames or audio of 1 clips were changed after decoding" in err
    code, _, err = cign("inspect", tiny[0], "--verify")
    assert code == 2
    assert "--verify needs a prepared store" in err


@pytest.mark.parametrize("regime", ["frozen", "end-to-end"])
def test_nothing_is_learned_from_a_damaged_store(regime, cign, tiny, tmp_path):
    folder = shutil.copytree(tiny[1], tmp_path / "store")
    name = "tokens/small-random/visual.npy" if regime == "frozen" else "frames.npy"
    data = bytearray((folder / name).read_bytes())
    data[-1000] ^= 16
    (folder / name).write_bytes(data)
    how = ["--method", "finetune", "--tasks", 2, "--regime", regime, "--backbone", "small-random"]
    code, _, err = cign("train", folder, "--out", tmp_path / "run", *how)
    assert code == 2
    assert "is damaged" in err
    assert not (tmp_path / "run").exists()
