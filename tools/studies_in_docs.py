"""MkDocs hook: add the studies' pages and figures, and an overview of them, to the site.

`benchmarks/study.py` writes them to ``benchmarks/results/studies``; they are not copied into
``docs``.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parent.parent
STUDIES, RESULTS = ROOT / "benchmarks" / "studies", ROOT / "benchmarks" / "results" / "studies"
INTRODUCTION = """# Studies

Each study is run by one command, `python benchmarks/study.py NAME`; an interrupted study resumes.
Its configuration is `benchmarks/studies/NAME.yaml`. All results are for the synthetic datasets and
their encoders: they show how methods differ under one protocol, not how they perform on real clips.
[All studies together](times.md) take less than six hours on two cores.
"""


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
