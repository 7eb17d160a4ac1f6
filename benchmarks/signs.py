"""Does `cign_analytic` stay ahead with other numbers of classes and other encoders? One table.

    python benchmarks/signs.py

reads the runs that `study.py classes` and `study.py encoders` have left (and makes those that are
missing) and writes ``benchmarks/results/signs.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml
from study import STUDIES, run

from cign.bench.table import difference
from cign.utils.files import write_text
from cign.vocabulary import MODALITIES

METHOD = "cign_analytic"
VARIED = {"classes": "{} classes", "encoders": "encoders: {}"}
"""The studies, and how a row names what they vary."""
PAGE = Path(__file__).parent / "results" / "signs.md"


def sign(entry: dict[str, Any]) -> str:
    """On which side of 0 the interval lies."""
    low, high = entry["low"], entry["high"]
    return "ahead" if low > 0 else "behind" if high < 0 else "open"


def rows_of(name: str, folder: Path) -> list[dict[str, Any]]:
    """All rows of a study."""
    return run(name, yaml.safe_load((STUDIES / f"{name}.yaml").read_text()), folder, ())


def page(studies: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Lines of Markdown."""
    lines = [
        "# Other numbers of classes, other encoders",
        "",
        "`python benchmarks/signs.py`",
        "",
        f"`{METHOD}` less each of the others: last accuracy, points, with the 95 % interval of a "
        "bootstrap over the test clips of one world (one seed, 4 tasks). Ahead or behind: the "
        "interval lies above 0 or below; open: 0 is in it.",
        "",
        f"| what | {METHOD} | less | audio | visual | audio-visual |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for name, rows in studies.items():
        for row in rows:
            if row["method"] != METHOD or not row["versus"]:
                continue
            entries = [row["numbers"][f"last_{modality}"] for modality in MODALITIES]
            cells = [f"{sign(entry)} {difference(entry)}" for entry in entries]
            own = f"{row['numbers']['last_audio_visual']['value']:.1f}"
            what = VARIED[name].format(row["label"])
            lines.append(f"| {what} | {own} | {row['versus']} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--to", type=Path, default=Path("work/studies"))
    arguments = parser.parse_args()
    found = {name: rows_of(name, arguments.to) for name in VARIED}
    write_text(PAGE, "\n".join(page(found)) + "\n")


if __name__ == "__main__":
    main()
