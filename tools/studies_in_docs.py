"""Hook of mkdocs: the studies' pages and figures, and an overview of them, as part of the site.

They are written by `benchmarks/study.py` into ``benchmarks/results/studies``; nothing is copied
into ``docs``.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parent.parent
STUDIES, RESULTS = ROOT / "benchmarks" / "studies", ROOT / "benchmarks" / "results" / "studies"
INTRODUCTION = """# Studies

Each is one command, `python benchmarks/study.py NAME`, which goes on where it was stopped; what
it asks is in `benchmarks/studies/NAME.yaml`. All figures are of the embedded benchmark and its
encoders: they show how methods differ under one protocol, not how they would do on real clips.
[What they take](times.md) together is less than six hours of two cores.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the overview, and for each study that has been made its page and figure."""

    def add(name: str) -> None:
        """Take over a file of the results."""
        there, here = f"studies/{name}", str(RESULTS / name)
        kind = InclusionLevel.NOT_IN_NAV
        files.append(File.generated(config, there, abs_src_path=here, inclusion=kind))

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
            f"**{study.get('finding', 'Not read yet.').strip()}**\n\n"
            f"[![{study['title']}]({name}.png)]({name}.md)\n"
        )
    files.append(File.generated(config, "studies/index.md", content="\n".join(overview)))
    return files
