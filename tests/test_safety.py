"""No file is run as a program: the source asks for none to be, and planted programs never start."""

import ast
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from cign.data.formats.table import read_table
from cign.data.formats.vggsound import read_vggsound
from cign.data.store import Store
from cign.data.tasks import read_task_file
from cign.errors import CignError
from cign.metrics.embedded import Embeddings
from cign.metrics.predictions import Predictions
from cign.runs.configuration import RunConfig
from cign.saved_model.folder import load_model, save_model
from cign.utils.checkpoint import load_tree
from cign.utils.options import read_recipe
from toy_model import toy_model

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")])
UNPICKLER = ROOT / "src" / "cign" / "data" / "formats" / "npy_dict.py"
# Loads only two released files, whose checksums it compares first, and as tensors only.
RELEASED = ROOT / "src" / "cign" / "backbones" / "packaged" / "weights.py"

FORBIDDEN_MODULES = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")
FORBIDDEN_NAMES = ("eval", "exec", "compile", "__import__")
FORBIDDEN_CALLS = {
    "torch.load": "weights are safetensors",
    "yaml.load": "use yaml.safe_load",
    "yaml.unsafe_load": "use yaml.safe_load",
    "yaml.full_load": "use yaml.safe_load",
    "np.fromfile": "use np.load",
    "os.system": "use subprocess.run with a list",
    "os.popen": "use subprocess.run with a list",
    "pd.read_pickle": "tables are Parquet",
    "torch.hub.load": "runs code of a repository",
}


def offences(path):
    """What a source file must not ask for, with its line."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            origin = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in [*origin, *(alias.name for alias in node.names)]:
                if name.split(".")[0] in FORBIDDEN_MODULES:
                    yield f"{where} imports {name}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {k.arg: k.value for k in node.keywords}

        def given(name, options=options):
            return options[name].value if isinstance(options.get(name), ast.Constant) else None

        if called in FORBIDDEN_NAMES:
            yield f"{where} calls {called}"
        if called in FORBIDDEN_CALLS:
            yield f"{where} calls {called}: {FORBIDDEN_CALLS[called]}"
        if called in ("np.load", "numpy.load") and given("allow_pickle") is not False:
            yield f"{where} calls np.load without allow_pickle=False"
        for name in ("shell", "trust_remote_code", "weights_only"):
            if name in options and given(name) is not (name == "weights_only"):
                yield f"{where} passes {name}"
        if called.endswith("from_pretrained") and given("use_safetensors") is False:
            yield f"{where} reads weights that are not safetensors"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_unpickles_or_runs_text(path):
    found = list(offences(path))
    if path == UNPICKLER:
        found = [line for line in found if not line.endswith("imports pickle")]
    if path == RELEASED:
        found = [line for line in found if "calls torch.load" not in line]
    assert found == []


def test_the_only_call_of_torch_load_takes_tensors_alone():
    calls = [
        node
        for node in ast.walk(ast.parse(RELEASED.read_bytes()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    (options,) = ({k.arg: ast.unparse(k.value) for k in call.keywords} for call in calls)
    assert options["weights_only"] == "True"


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from joblib import load",
        "eval(text)",
        "torch.load(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run('ls', shell=True)",
        "os.system('ls')",
        "AutoModel.from_pretrained(name, trust_remote_code=True)",
    ],
)
def test_the_search_finds_what_it_is_for(text, tmp_path):
    (tmp_path / "a.py").write_text(text)
    assert list(offences(tmp_path / "a.py"))


class Planted:
    """What runs when it is unpickled: it makes a file."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def programs(mark):
    """The same program in the wrappings in which files come."""
    import io
    import zipfile

    plain = pickle.dumps(Planted(mark))
    as_npy, as_npz, as_torch = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(as_npy, np.array([Planted(mark)], object), allow_pickle=True)
    np.savez(as_npz, a=np.array([Planted(mark)], object))
    with zipfile.ZipFile(as_torch, "w") as archive:  # as torch.save wraps it
        archive.writestr("archive/data.pkl", plain)
        archive.writestr("archive/version", "3\n")
    yaml = (
        f"!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]"
    )
    json_text = json.dumps({"__reduce__": ["pathlib.Path.touch", str(mark)]})
    texts = [yaml.encode(), json_text.encode()]
    return [plain, as_npy.getvalue(), as_npz.getvalue(), as_torch.getvalue(), *texts]


def readers(tiny, folder):
    """Each kind of file that is read, by name: the file, and what reads it."""
    store = shutil.copytree(tiny[1], folder / "store")
    model = folder / "model"
    save_model(toy_model(), model)
    tokens = store / "tokens" / "small-random"

    def tokens_of():
        return Store.open(store).tokens("small-random")

    yield "clips.parquet", store / "clips.parquet", lambda: Store.open(store)
    for name in ("store.json", "frames.npy", "audio.npy"):
        yield name, store / name, lambda: Store.open(store)
    for name in ("audio.npy", "visual.npy", "tokens.json"):
        yield f"tokens {name}", tokens / name, tokens_of
    for name in ("model.safetensors", "kept.safetensors", "model.json"):
        yield name, model / name, lambda: load_model(model)
    one = {
        "checkpoint.safetensors": load_tree,
        "predictions.parquet": Predictions.load,
        "embeddings.parquet": Embeddings.load,
        "config.yaml": lambda path: RunConfig.load(path.parent),
        "recipe.yaml": read_recipe,
        "tasks.yaml": lambda path: read_task_file(path, ["a", "b"]),
        "tasks.json": lambda path: read_task_file(path, ["a", "b"]),
        "table.csv": read_table,
        "table.parquet": read_table,
        "vggsound.csv": read_vggsound,
    }
    for name, read in one.items():
        yield name, folder / name, lambda read=read, path=folder / name: read(path)


def test_planted_programs_never_start(tiny, tmp_path):
    mark = tmp_path / "started"
    for program in programs(mark)[:1]:
        pickle.loads(program)
    assert mark.exists(), "the program does what it is for"
    mark.unlink()
    tried = 0
    for name, path, read in readers(tiny, tmp_path):
        before = path.read_bytes() if path.exists() else None
        for number, program in enumerate(programs(mark)):
            path.write_bytes(program)
            with pytest.raises(CignError):
                read()
            assert not mark.exists(), f"{name}, {number}"
            tried += 1
        if before is None:
            path.unlink()
        else:
            path.write_bytes(before)
    assert tried >= 100
