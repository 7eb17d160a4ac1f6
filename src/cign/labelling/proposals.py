"""Clips that are proposed to be labelled, and their list. This module does not import torch."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cign.data.clips import Clip
from cign.data.formats.export import common_folder
from cign.data.shards import on_disk
from cign.errors import InputError
from cign.utils.file_text import escape_name
from cign.utils.files import write_text

COLUMNS = ("path", "labels", "split", "start_s", "end_s", "source")
GUESSES = ("guess", "probability", "margin", "unknown")


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A clip that is proposed to be labelled.

    Attributes:
        clip: The clip, without labels.
        guesses: The two most probable classes with their audio-visual probabilities, most probable
            first; one class if the model has no other.
        margin: How certain the model is, 0..1, see `cign.labelling.pool.margins`.
        unknown: Unknown score of the audio-visual prediction, 0..1.
        gain: What the clip adds to those proposed before it, see `cign.labelling.design.choose`.
        missing: Modalities that the clip lacks.
    """

    clip: Clip
    guesses: tuple[tuple[str, float], ...]
    margin: float
    unknown: float
    gain: float
    missing: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The first guess of the model."""
        return self.guesses[0][0]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``cign next --json`` prints them."""
        return {
            "file": self.clip.id,
            "path": escape_name(str(self.clip.path)),
            "start_s": self.clip.start_s,
            "end_s": self.clip.end_s,
            "guesses": [{"label": name, "probability": p} for name, p in self.guesses],
            "margin": self.margin,
            "unknown": self.unknown,
            "gain": self.gain,
            "missing": list(self.missing),
        }


@dataclass(frozen=True, kw_only=True)
class Proposals:
    """Clips to label next, the most informative first.

    Attributes:
        proposals: The clips.
        num_clips: Number of unlabelled clips that the model was asked about.
        num_known: Number of further clips, which it learned or stores for validation.
        num_scored: Number of them whose tokens were scored one by one; less than ``num_clips`` if a
            first pass on their mean tokens left out the others.
        num_candidates: Number of the least certain ones, from which the proposals were chosen.
        unreadable: Name of each file that cannot be decoded, and why.
        notes: What was left out, and why; one sentence each.
    """

    proposals: tuple[Proposal, ...]
    num_clips: int
    num_known: int
    num_scored: int
    num_candidates: int
    unreadable: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.proposals)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as ``cign next --json`` prints them."""
        return {
            "num_clips": self.num_clips,
            "num_known": self.num_known,
            "num_scored": self.num_scored,
            "num_candidates": self.num_candidates,
            "proposals": [one.to_dict() for one in self.proposals],
            "unreadable": [{"file": name, "error": why} for name, why in self.unreadable],
            "notes": list(self.notes),
        }

    def write(self, path: Path) -> Path | None:
        """Write the clips as a table of `cign` whose labels are empty, with the model's guesses.

        Fill in the labels, remove the rows without one, and add the table to the model.

        Args:
            path: A new .csv file.

        Returns:
            The folder that the paths are relative to, if it is not that of the table: ``cign add``
            needs it as ``--media``.

        Raises:
            InputError: If the file may not be written, or the clips are not files of their own.
        """
        check_list(path)
        clips = [one.clip for one in self.proposals]
        odd = next((clip for clip in clips if on_disk(clip.path) != clip.path), None)
        if odd is not None:
            raise InputError(
                "unsupported",
                f"clip {odd.id} is inside a shard, which a table cannot name: unpack the shards, "
                "or take the names from --json",
            )
        home = path.absolute().parent
        is_inside = all(clip.path.is_relative_to(home) for clip in clips)
        root = home if is_inside or not clips else common_folder(clips)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow((*COLUMNS, *GUESSES))
        for one in self.proposals:
            clip = one.clip
            times = ("" if x is None else repr(x) for x in (clip.start_s, clip.end_s))
            name = escape_name(clip.path.relative_to(root).as_posix())
            numbers = (f"{x:.4f}" for x in (one.guesses[0][1], one.margin, one.unknown))
            writer.writerow((name, "", "train", *times, clip.source, one.label, *numbers))
        write_text(path, text.getvalue())
        return None if root == home else root


def check_list(path: Path) -> None:
    """Check the path of a list before anything is computed.

    Raises:
        InputError: If its name does not end in .csv, or it exists: it may hold labels.
    """
    if path.suffix.lower() != ".csv":
        raise InputError(
            "bad-output", f"list {path} does not end in .csv: give a name that ends in .csv"
        )
    if path.exists():
        raise InputError(
            "bad-output", f"{path} exists and may hold labels: give a new name, or remove it"
        )
