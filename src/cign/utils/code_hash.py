"""Hash of the source files that a result depends on, recorded with the result.

A result with another hash is older than its code and must be computed again. Imports are parsed
from the source, not executed. A package's ``__init__`` counts only if it is imported by name, so
that results of one method do not depend on all other methods.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_PACKAGE = "cign"


def code_hash(modules: Iterable[str], files: Iterable[Path] = (), *, package: Path = _ROOT) -> str:
    """Hash of the files of modules and of everything they import inside the package.

    Args:
        modules: Full names, for example ``"cign.methods.ewc"``.
        files: Additional files, for example the script that computes the result.
        package: Folder of the package.

    Returns:
        The first 16 hexadecimal digits of a SHA-256 over names and contents, independent of line
        endings.

    Raises:
        ModuleNotFoundError: If a module is not in the package.
    """
    digest = hashlib.sha256()
    named = [*dependencies(modules, package=package).items(), *((f.name, f) for f in files)]
    for name, path in named:
        content = path.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def dependencies(modules: Iterable[str], *, package: Path = _ROOT) -> dict[str, Path]:
    """Modules and everything they import inside the package, by name in alphabetical order.

    Raises:
        ModuleNotFoundError: If a module is not in the package.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        path = _file_of(name, package)
        if path is None:
            raise ModuleNotFoundError(f"no module {name!r} in {package}")
        found[name] = path
        waiting += _imported(name, path, package)
    return dict(sorted(found.items()))


def _file_of(name: str, package: Path) -> Path | None:
    """The file of a module or package; None if there is none."""
    first, *rest = name.split(".")
    if first != _PACKAGE:
        return None
    base = package.joinpath(*rest)
    for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
        if rest and path.is_file():
            return path
    return package / "__init__.py" if not rest else None


def _imported(name: str, path: Path, package: Path) -> Iterator[str]:
    """Modules of the package that a file imports, at any level of nesting."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if _file_of(a.name, package) is not None)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                # From a package's __init__ one dot is the package itself.
                depth = node.level - (path.name == "__init__.py")
                above = name.split(".")[: len(name.split(".")) - depth]
                origin = ".".join([*above, *([origin] if origin else [])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                chosen = inner if _file_of(inner, package) is not None else origin
                if _file_of(chosen, package) is not None:
                    yield chosen
