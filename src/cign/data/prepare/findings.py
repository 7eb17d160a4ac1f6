"""Problems found in a source: conditions of files, duplicates, recordings shared by splits."""

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

# The condition of files and folders in the source that are not clips.
IGNORED = "ignored"

# Conditions that decoding handles without loss: counted, but not listed per clip.
COUNTED_ONLY = (
    *("long", "still not tested", "rotated", "10-bit", "odd size", "variable rate", "surround"),
)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem of one clip.

    Attributes:
        condition: Name of the condition, see ``docs/media.md``.
        clip: The clip's id.
        split: The clip's split.
        detail: One sentence.
        kept: Whether the clip is used despite the problem.
    """

    condition: str
    clip: str
    split: str
    detail: str
    kept: bool

    @property
    def severity(self) -> int:
        """0 if the clip is left out, 1 if its content occurs in two splits, 2 otherwise."""
        if not self.kept:
            return 0
        # The detail of a duplicate ends with the split of the clip that it duplicates.
        across = self.condition == "duplicate" and not self.detail.endswith(f" in {self.split}")
        return 1 if across else 2


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Summary of the problems found in the files of a source.

    Attributes:
        num_listed: Clips in the list.
        num_usable: Clips that decode.
        conditions: Number of clips of each condition.
        num_duplicates: Clips whose decoded content equals that of an earlier clip.
        num_duplicates_across: Duplicates whose earlier clip is in another split.
        problems: All problems except those of the conditions in `COUNTED_ONLY`, the most severe
            first.
    """

    num_listed: int
    num_usable: int
    conditions: dict[str, int] = field(default_factory=dict)
    num_duplicates: int = 0
    num_duplicates_across: int = 0
    problems: tuple[Problem, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return all fields except ``problems``, for JSON."""
        values = asdict(self)
        del values["problems"]
        return values


def summarise(clips: Sequence[Clip], answers: Mapping[int, Answer]) -> Findings:
    """Turn the answers of the decoders into findings.

    Args:
        clips: The list of clips.
        answers: The answer for each clip, by its position in the list.
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
    """Return whether a clip was decoded."""
    return "content_hash" in answer


def shared_sources(table: ClipTable) -> list[dict[str, Any]]:
    """Count the clips whose recording also occurs in another split.

    Returns:
        One entry for each pair of splits that share recordings, with the keys ``split, other,
        num_sources, num_clips``. ``num_clips`` counts the clips of ``split``, the later split of
        the pair: for ``test`` and ``train``, the test clips that share a recording with train.
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
        folder: The folder for both files.
        problems: The problems, written in this order.
        ignored: Files and folders of the source that are not clips; they become the last rows,
            with the condition ``ignored``.
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
    """Read the file that `write_problems` wrote.

    Raises:
        OSError: If the file does not exist.
        ValueError: If it is damaged.
        TypeError: If it has other columns.
    """
    rows = [Problem(**row) for row in read_columns(folder / "problems.parquet").to_pylist()]
    problems = tuple(row for row in rows if row.condition != IGNORED)
    return problems, tuple(Ignored(p.clip, p.detail) for p in rows if p.condition == IGNORED)


def classes_without(
    split: str, counts: Mapping[str, Mapping[str, int]], class_names: Sequence[str]
) -> list[str]:
    """Return the classes to be learned that have no clip in a split."""
    split_counts = counts.get(split, {})
    return [name for name in class_names if not split_counts.get(name)]
