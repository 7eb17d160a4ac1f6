"""The packages import downward only; the order is the one of docs/architecture.md."""

import ast
from collections import defaultdict
from pathlib import Path

import cign

ROOT = Path(cign.__file__).parent
# From the bottom up; what stands in one line may not import from each other.
LAYERS = (
    ("errors",),
    ("vocabulary",),
    ("utils",),
    ("data",),
    ("synthetic", "layers", "losses", "metrics"),
    ("backbones",),
    ("networks",),
    ("methods",),
    ("training",),
    ("tracking",),
    ("open_set", "runs"),
    ("saved_model",),
    ("inference",),
    ("updating",),
    ("report", "explain", "export"),
    ("labelling",),
    ("trained",),
    ("learner",),
    ("bench", "sklearn", "tuning"),
    ("serving",),
    ("integrations",),
    ("app",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:  # the package itself gives public names and imports nothing at its start
            yield name, path


MODULES = dict(modules())


def imported(path):
    """Modules of the package that a file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "cign":
            base = ".".join(node.module.split(".")[1:])
            for alias in node.names:
                inner = f"{base}.{alias.name}".strip(".")
                yield inner if inner in MODULES else base
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("cign."):
                    yield alias.name.removeprefix("cign.")


EDGES = {name: {to for to in imported(path) if to} for name, path in MODULES.items()}


def test_every_package_has_its_place():
    assert {name.split(".")[0] for name in MODULES} == set(RANK)


def test_no_import_goes_upward():
    upward = [
        f"{name} imports {to}"
        for name, found in EDGES.items()
        for to in found
        if to.split(".")[0] != name.split(".")[0]
        and RANK[to.split(".")[0]] >= RANK[name.split(".")[0]]
    ]
    assert upward == []


# The modules below `learner` that read a store: each opens the clips for one purpose, once.
READ_STORES = {
    "runs.request",  # its classes and backbone complete a configuration
    "runs.training_data",  # training
    "inference.sources",  # evaluation
    "updating.new_clips",  # additions
    "updating.several_stores",  # several that are taken for one
    "report.clips",  # frames and audio in a report
}


def test_below_the_learner_a_store_is_read_in_few_places():
    lower = {
        name
        for name in MODULES
        if name.split(".")[0] != "data" and RANK[name.split(".")[0]] < RANK["learner"]
    }
    assert {name for name in lower if "data.store" in EDGES[name]} == READ_STORES
    passed_on = [
        f"{name}: {node.arg}"
        for name in sorted(lower - READ_STORES)
        for node in ast.walk(ast.parse(MODULES[name].read_bytes()))
        if isinstance(node, ast.arg) and node.arg in ("store", "test_store")
    ]
    assert passed_on == ["runs.preparing: store"]  # a path


def test_no_module_imports_itself_by_way_of_others():
    state = defaultdict(int)  # 1: on the path, 2: done
    circles = []

    def visit(name, path):
        state[name] = 1
        for to in EDGES.get(name, ()):
            if state[to] == 1:
                circles.append([*path[path.index(to) :], to] if to in path else [name, to])
            elif not state[to]:
                visit(to, [*path, to])
        state[name] = 2

    for name in MODULES:
        if not state[name]:
            visit(name, [name])
    assert circles == []


def test_the_root_holds_few_modules():
    assert len(list(ROOT.glob("*.py"))) <= 6


def test_no_code_outside_methods_asks_which_method_it_has():
    """Capabilities are asked for by the functions of `cign.methods.capabilities`."""
    names = {
        node.name
        for path in (ROOT / "methods").glob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.ClassDef) and any(_registers(d) for d in node.decorator_list)
    }
    assert len(names) > 15
    found = [
        f"{name}: {node.id}"
        for name, path in MODULES.items()
        if not name.startswith("methods")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Name) and node.id in names
    ]
    assert found == []


def _registers(decorator):
    return isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == (
        "register_method"
    )
