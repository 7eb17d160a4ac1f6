"""Size and structure of the package: `python tools/structure.py [SRC]`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path


def code_lines(text: str) -> int:
    """Lines that are not blank, comments or docstrings."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        first = body[0] if body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            documented |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return sum(
        1
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.strip().startswith("#") and number not in documented
    )


def imported(tree: ast.Module) -> Iterator[str]:
    """Names that follow ``cign`` in the imports of a module."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] == "cign" and len(parts) > 1:
                yield parts[1]


def main() -> None:
    """Print the counts."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "src") / "cign"
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(root.rglob("*.py"))}
    top = {path: path.relative_to(root).with_suffix("").parts[0] for path in texts}
    nodes = {name for name in top.values() if not name.startswith("__")}
    edges = {
        (top[path], to)
        for path, text in texts.items()
        for to in imported(ast.parse(text))
        if to in nodes and top[path] in nodes and to != top[path]
    }
    print(f"modules in the root: {sum(path.parent == root for path in texts)}")
    print(f"packages and modules at the top level: {len(nodes)}")
    print(f"imports between them: {len(edges)}")
    print(f"modules: {len(texts)}")
    print(f"lines: {sum(text.count(chr(10)) for text in texts.values())}")
    print(f"lines of code: {sum(map(code_lines, texts.values()))}")


if __name__ == "__main__":
    main()
