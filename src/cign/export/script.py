"""Generate the script that runs an exported model, from the decoding modules of `cign predict`.

The script and `cign predict` must decode a file identically. Therefore the script contains the
source of these modules, unchanged except for the imports between them, and there is no second
decoder.
"""

from __future__ import annotations

import ast
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from cign import __version__
from cign.utils.files import write_text

SCRIPT, REQUIREMENTS = "predict.py", "requirements.txt"
# In the order of their imports.
_MODULES = (
    *(
        f"cign.data.media.{name}"
        for name in (
            *("joins", "spans", "timeline", "limits", "container", "seeking", "video", "audio"),
            *("image_files", "decode", "windows"),
        )
    ),
    "cign.export.standalone",
)
_WHOLE = ""
_HEAD = '''\
#!/usr/bin/env python3
"""Predict clips with the model in this folder, without cign.

    pip install -r requirements.txt
    python predict.py clip.mp4

Prints one JSON object for each clip. Requires Python 3.11 or later, and PyAV {av} for the same
frames as `cign predict`, whose decoder is included below (cign {version}).
"""

from __future__ import annotations

'''
_TAIL = """

if __name__ == "__main__":
    sys.exit(main(Path(__file__).parent))
"""


def write_script(folder: Path, runtime: str) -> None:
    """Write the script and the list of its packages into the folder of an exported model.

    Args:
        folder: The folder.
        runtime: The package that runs the model: ``onnxruntime`` or ``torch``.
    """
    write_text(folder / SCRIPT, script())
    write_text(folder / REQUIREMENTS, requirements(runtime))


def requirements(runtime: str) -> str:
    """The packages of the script: PyAV as it is here, because others may decode other frames."""
    installed = version(runtime).partition("+")[0]
    lines = [f"av=={version('av')}", "numpy>=2", f"{runtime}>={installed}"]
    return "".join(f"{line}\n" for line in lines)


def script() -> str:
    """The text of the script."""
    imports: dict[str, set[str]] = {}
    names: dict[str, str] = {}
    bodies = []
    for module in _MODULES:
        package, _, name = module.rpartition(".")
        source = resources.files(package).joinpath(f"{name}.py").read_text(encoding="utf-8")
        bodies.append(f"# {'-' * 20} {module} {'-' * 20}\n" + _body(module, source, imports, names))
    head = _HEAD.format(version=__version__, av=version("av"))
    lines = []
    for origin, found in sorted(imports.items()):
        if _WHOLE in found:
            lines.append(f"import {origin}")
        if found - {_WHOLE}:
            lines.append(f"from {origin} import {', '.join(sorted(found - {_WHOLE}))}")
    return head + "\n".join(lines) + "\n\n\n" + "\n\n\n".join(bodies) + _TAIL


def _body(module: str, source: str, imports: dict[str, set[str]], names: dict[str, str]) -> str:
    """The source of a module without its docstring and imports; the imports are collected.

    Args:
        module: Name of the module.
        source: Source of the module.
        imports: Extended by its external imports: names by module, `_WHOLE` for the module itself.
        names: The defining module of each name; extended.
    """
    lines = source.splitlines()
    dropped: set[int] = set()
    for number, node in enumerate(ast.parse(source).body):
        span = range(node.lineno - 1, node.end_lineno or node.lineno)
        if isinstance(node, ast.Import):
            dropped.update(span)
            imports.setdefault(ast.unparse(node).removeprefix("import "), set()).add(_WHOLE)
        elif isinstance(node, ast.ImportFrom):
            dropped.update(span)
            origin = node.module or ""
            found = {alias.name for alias in node.names}
            # All modules share one namespace in the script.
            assert not any(alias.asname for alias in node.names), f"{module}: import as"
            if origin.startswith("cign"):
                assert origin in _MODULES, f"{module} imports {origin}, which the script lacks"
            elif origin != "__future__":
                imports.setdefault(origin, set()).update(found)
        elif number == 0 and isinstance(node, ast.Expr):
            dropped.update(span)
        for name in _defined(node):
            assert name == "__all__" or name not in names, f"{module}, {names[name]}: {name}"
            names[name] = module
    remaining = [line for number, line in enumerate(lines) if number not in dropped]
    return "\n".join(remaining).strip("\n")


def _defined(node: ast.stmt) -> list[str]:
    """Names that a statement of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
