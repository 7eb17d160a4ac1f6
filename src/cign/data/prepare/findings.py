"""What was found in a source: conditions of its files, duplicates, sources shared by splits."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from cign.data.clip_file import read_columns, write_table
from cign.data.clips import Clip, ClipTable, Ignored
from cign.data.prepare.worker import Answer
from cign.utils.files import write_text
from cign.vocabulary import SPLITS

# The condition of what is in the source and no clip.
IGNORED = "ignored"

# Dealt with as a matter of course: counted, not listed clip by clip.
COUNTED_ONLY = (
    *("long", "still not tested", "rotated", "10-bit", "odd size", "variable rate", "surround"),
)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something odd about a clip.

    Attributes:
        condition: Its name, see ``docs/media.md``.
        clip: The clip's id.
        split: The clip's split.
        detail: One sentence.
        kept: Whether the clip is used all the same.
    """

    condition: str
    clip: str
    split: str
    detail: str
    kept: bool

    @property
    def severity(self) -> int:
        """0 if the clip is lost, 1 if its content is in two splits, 2 for all else."""
        if not self.kept:
            return 0
        # The detail of a duplicate ends in the split of the clip that it equals.
        across = self.condition == "duplicate" and not self.detail.endswith(f" in {self.split}")
        return 1 if across else 2


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found in the files of a source.

    Attributes:
        num_listed: Clips in the list.
        num_usable: Clips that decode.
        conditions: Number of clips of each condition.
        num_duplicates: Clips whose decoded content is that of an earlier clip.
        num_duplicates_across: Those among them whose earlier clip is in another split.
        problems: All of it but what is dealt with as a matter of course, the most severe first.
    """

    num_listed: int
    num_usable: int
    conditions: dict[str, int] = field(default_factory=dict)
    num_duplicates: int = 0
    num_duplicates_across: int = 0
    problems: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Without the single problems, for JSON."""
        values = asdict(self)
        del values["problems"]
        return values


def summarise(clips: Sequence[Clip], answers: Mapping[int, Answer]) -> Findings:
    """Turn the answers of the decoders into findings.

    Args:
        clips: The list; answers go by position in it.
        answers: An answer for each clip.
    """
    conditions: Counter[str] = Counter()
    problems: list[Problem] = []
    first_with: dict[str, Clip] = {}
    num_across = 0
    for row, clip in enumerate(clips):
        answer = answers[row]
        kept = is_usable(answer)
        found = [(str(name), str(detail)) for name, detail in answer["conditions"]]
        if kept:
            first = first_with.setdefault(answer["content_hash"], clip)
            if first is not clip:
                across = first.split != clip.split
                num_across += across
                found.append(("duplicate", f"same content as {first.id} in {first.split}"))
        conditions.update({name for name, _ in found})
        problems += [
            Problem(condition=name, clip=clip.id, split=clip.split, detail=detail, kept=kept)
            for name, detail in found
            if name not in COUNTED_ONLY
        ]
    return Findings(
        num_listed=len(clips),
        num_usable=sum(is_usable(answer) for answer in answers.values()),
        conditions=dict(sorted(conditions.items())),
        num_duplicates=conditions["duplicate"],
        num_duplicates_across=num_across,
        problems=tuple(sorted(problems, key=lambda problem: problem.severity)),
    )


def is_usable(answer: Answer) -> bool:
    """Whether a clip decoded."""
    return "content_hash" in answer


def shared_sources(table: ClipTable) -> list[dict[str, Any]]:
    """Count the clips whose recording another split has as well.

    Returns:
        For each pair of splits that share recordings: ``split, other, num_sources, num_clips``,
        the clips being those of the later split of the pair (test before train reads: so many
        test clips share a recording with train).
    """
    clips_of: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in table.clips:
        clips_of[clip.split][clip.source] += 1
    pairs = []
    for number, other in enumerate(SPLITS):
        for split in SPLITS[number + 1 :]:
            shared = clips_of[split].keys() & clips_of[other].keys()
            if shared:
                num_clips = sum(clips_of[split][source] for source in shared)
                pairs.append(
                    {
                        "split": split,
                        "other": other,
                        "num_sources": len(shared),
                        "num_clips": num_clips,
                    }
                )
    return pairs


def write_problems(folder: Path, problems: Sequence[Problem], ignored: Sequence[Ignored]) -> None:
    """Write ``problems.parquet`` and the same rows as ``problems.csv``.

    Args:
        folder: Where they go.
        problems: In their order.
        ignored: What in the source is no clip; rows of condition ``ignored`` at the end.
    """
    schema = pa.schema(
        [
            ("condition", pa.string()),
            ("clip", pa.string()),
            ("split", pa.string()),
            ("detail", pa.string()),
            ("kept", pa.bool_()),
        ]
    )
    rows = [asdict(problem) for problem in problems]
    rows += [
        {"condition": IGNORED, "clip": path, "split": "", "detail": reason, "kept": False}
        for path, reason in ignored
    ]
    write_table(folder / "problems.parquet", pa.Table.from_pylist(rows, schema=schema))
    text = io.StringIO()
    writer = csv.DictWriter(text, schema.names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "kept": "true" if row["kept"] else "false"} for row in rows)
    write_text(folder / "problems.csv", text.getvalue())


def read_problems(folder: Path) -> tuple[tuple[Problem, ...], tuple[Ignored, ...]]:
    """Read what `write_problems` wrote.

    Raises:
        OSError: If the file is not there.
        ValueError: If it is damaged.
        TypeError: If it has other columns.
    """
    rows = [Problem(**row) for row in read_columns(folder / "problems.parquet").to_pylist()]
    problems = tuple(row for row in rows if row.condition != IGNORED)
    return problems, tuple(Ignored(p.clip, p.detail) for p in rows if p.condition == IGNORED)


def classes_without(
    split: str, counts: Mapping[str, Mapping[str, int]], class_names: Sequence[str]
) -> list[str]:
    """The classes to be taught of which a split has no clip."""
    there = counts.get(split, {})
    return [name for name in class_names if not there.get(name)]
