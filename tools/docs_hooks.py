"""MkDocs hooks: pages that are in the site without being in ``docs`` or named in ``mkdocs.yml``.

An entry ``FOLDER/*`` of the navigation stands for all pages of a folder that are not named beside
it. The pages and figures of the studies, which `benchmarks/study.py` writes to
``benchmarks/results/studies``, are added with an overview of them; they are not copied into
``docs``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
STUDIES, RESULTS = ROOT / "benchmarks" / "studies", ROOT / "benchmarks" / "results" / "studies"
INTRODUCTION = """# Studies

Each study is run by one command, `python benchmarks/study.py NAME`; an interrupted study resumes.
Its configuration is `benchmarks/studies/NAME.yaml`. All results are for the synthetic datasets and
their encoders: they show how methods differ under one protocol, not how they perform on real clips.
[All studies together](times.md) take less than six hours on two cores.
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace ``FOLDER/*`` in the navigation by the pages of the folder, in alphabetical order."""
    config.nav = [_expanded(entry, Path(config.docs_dir)) for entry in config.nav or []]
    return config


def _expanded(entry: Any, docs: Path) -> Any:
    """A navigation entry in which every ``FOLDER/*`` is replaced by pages."""
    if isinstance(entry, dict):
        return {title: _expanded(value, docs) for title, value in entry.items()}
    if not isinstance(entry, list):
        return entry
    expanded: list[Any] = []
    for item in entry:
        if isinstance(item, str) and item.endswith("/*"):
            pages = (path.relative_to(docs).as_posix() for path in docs.glob(f"{item[:-1]}*.md"))
            expanded += [page for page in sorted(pages) if page not in entry]
        else:
            expanded.append(_expanded(item, docs))
    return expanded


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the overview, and the page and figure of each finished study."""

    def add(name: str) -> None:
        """Add a file of the results."""
        target, source = f"studies/{name}", str(RESULTS / name)
        kind = InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, target, abs_src_path=source, inclusion=kind))

    add("times.md")
    overview = [INTRODUCTION]
    for path in sorted(STUDIES.glob("*.yaml")):
        study, name = yaml.safe_load(path.read_text()), path.stem
        if not (RESULTS / f"{name}.md").is_file():
            continue
        add(f"{name}.md")
        add(f"{name}.png")
        overview.append(
            f"## [{study['title']}]({name}.md)\n\n{study['question'].strip()}\n\n"
            f"**{study.get('finding', 'Not evaluated yet.').strip()}**\n\n"
            f"[![{study['title']}]({name}.png)]({name}.md)\n"
        )
    files.append(File.generated(config, "studies/index.md", content="\n".join(overview)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Insert ``CONTRIBUTING.md`` into its page, and make links to results those of the site.

    The pages link to ``benchmarks/results/studies``, so that the links also work in a checkout.
    """
    if page.file.src_uri != "contributing.md":
        linked = markdown.replace("../benchmarks/results/studies/)", "studies/index.md)")
        return linked.replace("../benchmarks/results/studies/", "studies/")
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")
