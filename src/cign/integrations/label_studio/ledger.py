"""The annotations that were received and the clips that were learned from them, in one SQLite file.

Annotations are what Label Studio last said. Clips are rows of batches: each batch is one version of
the model, so that a batch whose version was undone no longer counts.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cign.errors import InputError
from cign.integrations.label_studio.records import (
    Annotation,
    History,
    Key,
    Labels,
    Learned,
    digest,
    dumps,
)

FORMAT = 1
_TABLES = """
CREATE TABLE projects (uid TEXT PRIMARY KEY, interface TEXT NOT NULL);
CREATE TABLE annotations (
    project TEXT NOT NULL, id INTEGER NOT NULL, task INTEGER NOT NULL,
    data TEXT NOT NULL, result TEXT NOT NULL,
    ground_truth INTEGER NOT NULL, cancelled INTEGER NOT NULL, updated_at TEXT NOT NULL,
    hash TEXT NOT NULL, deleted INTEGER NOT NULL, changed INTEGER NOT NULL,
    PRIMARY KEY (project, id)
);
CREATE TABLE batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL,
    num_before INTEGER NOT NULL, before TEXT NOT NULL,
    num_after INTEGER NOT NULL, after TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE clips (
    batch INTEGER NOT NULL REFERENCES batches, clip TEXT NOT NULL, labels TEXT, content TEXT,
    PRIMARY KEY (batch, clip)
);
CREATE TABLE held (clip TEXT PRIMARY KEY, labels TEXT);
"""


class Ledger:
    """The file; its methods may be called from several threads.

    Args:
        path: The file, created if it does not exist.

    Raises:
        InputError: If it cannot be opened, or has another format.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
            if version == 0:
                self._db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
                version = FORMAT
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                "file-unreadable",
                f"annotations {path} cannot be opened ({error}): check the folder of --work",
            ) from None
        if version != FORMAT:
            raise InputError(
                "wrong-version",
                f"annotations {path} have format {version}, this version reads {FORMAT}: name "
                "another folder with --work",
            )

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException as error:
                self._db.execute("ROLLBACK")
                if isinstance(error, UnicodeEncodeError):
                    raise InputError(
                        "bad-value", f"the request has invalid text ({error}): send valid Unicode"
                    ) from None
                raise
            self._db.execute("COMMIT")

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    def set_interface(self, project: str, interface: str) -> None:
        """Remember the labelling interface of a project."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO projects VALUES (?, ?)", (project, interface))

    def interfaces(self) -> dict[str, str]:
        """The labelling interfaces of the projects."""
        return dict(self._rows("SELECT uid, interface FROM projects"))

    def put(self, one: Annotation) -> str:
        """Record an annotation.

        Returns:
            ``new``, ``updated``, ``unchanged``, or ``outdated`` if a later state is known already
            or the annotation was deleted.
        """
        with self._writing() as db:
            known = db.execute(
                "SELECT hash, updated_at, deleted FROM annotations WHERE project = ? AND id = ?",
                (one.project, one.id),
            ).fetchone()
            if known and (known[2] or (one.updated_at and one.updated_at < known[1])):
                return "outdated"
            # Submitting it again also learns what an undone version had learned.
            references = {str(value) for value in one.data.values() if isinstance(value, str)}
            for (clip,) in db.execute("SELECT clip FROM held").fetchall():
                if _key(clip).reference in references:
                    db.execute("DELETE FROM held WHERE clip = ?", (clip,))
            if known and known[0] == one.hash:
                return "unchanged"
            row = (
                *(one.project, one.id, one.task, dumps(one.data), dumps(one.result)),
                *(one.ground_truth, one.cancelled, one.updated_at, one.hash, False, True),
            )
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT OR REPLACE INTO annotations VALUES ({marks})", row)
            return "updated" if known else "new"

    def delete(self, project: str, numbers: Iterable[int], *, column: str = "id") -> int:
        """Mark annotations as deleted.

        Args:
            project: Their project.
            numbers: Their numbers, or those of their tasks.
            column: ``id`` or ``task``: what the numbers are.

        Returns:
            How many of them were known.
        """
        assert column in ("id", "task")
        with self._writing() as db:
            return sum(
                db.execute(
                    "UPDATE annotations SET deleted = 1, changed = 1 "
                    f"WHERE project = ? AND {column} = ? AND NOT deleted",
                    (project, number),
                ).rowcount
                for number in numbers
            )

    def annotations(self) -> list[Annotation]:
        """The annotations that are not deleted, in the order of their numbers."""
        rows = self._rows(
            "SELECT project, id, task, data, result, ground_truth, cancelled, updated_at "
            "FROM annotations WHERE NOT deleted ORDER BY project, id"
        )
        return [
            Annotation(
                project=row[0],
                id=row[1],
                task=row[2],
                data=json.loads(row[3]),
                result=json.loads(row[4]),
                ground_truth=bool(row[5]),
                cancelled=bool(row[6]),
                updated_at=row[7],
            )
            for row in rows
        ]

    def changed(self) -> list[tuple[str, int, str, int]]:
        """Project, number, hash and deletion of the annotations that no batch has considered."""
        return [
            (row[0], row[1], row[2], row[3])
            for row in self._rows(
                "SELECT project, id, hash, deleted FROM annotations WHERE changed"
            )
        ]

    def considered(self, seen: Iterable[tuple[str, int, str, int]]) -> None:
        """Mark annotations as considered, unless they were changed since they were seen."""
        with self._writing() as db:
            db.executemany(
                "UPDATE annotations SET changed = 0 "
                "WHERE project = ? AND id = ? AND hash = ? AND deleted = ?",
                list(seen),
            )

    def learned(self) -> dict[Key, Learned]:
        """The clips that the model has learned from annotations."""
        found: dict[Key, Learned] = {}
        for clip, labels, content in self._rows(
            "SELECT clip, labels, content FROM clips JOIN batches ON batch = number "
            "WHERE NOT undone ORDER BY batch"
        ):
            if labels is None:
                found.pop(_key(clip), None)
            else:
                found[_key(clip)] = Learned(tuple(json.loads(labels)), content)
        return found

    def held(self) -> dict[Key, Labels | None]:
        """Changes of undone batches, which are not made again: clips with labels, or None."""
        rows = self._rows("SELECT clip, labels FROM held")
        return {
            _key(clip): None if text is None else tuple(json.loads(text)) for clip, text in rows
        }

    def add_batch(
        self,
        version: int,
        before: History,
        after: History,
        clips: Mapping[Key, Learned | None],
    ) -> None:
        """Record a batch.

        Args:
            version: Number of the model's version that it made.
            before: The history of the model before.
            after: Its history now.
            clips: What was learned, and None for what was forgotten.
        """
        with self._writing() as db:
            number = db.execute(
                "INSERT INTO batches (version, num_before, before, num_after, after) "
                "VALUES (?, ?, ?, ?, ?)",
                (version, len(before), digest(before), len(after), digest(after)),
            ).lastrowid
            db.executemany(
                "INSERT INTO clips VALUES (?, ?, ?, ?)",
                [
                    (number, dumps(key), None, None)
                    if one is None
                    else (number, dumps(key), dumps(one.labels), one.content)
                    for key, one in clips.items()
                ],
            )

    def compare(self, history: History) -> int:
        """Find the batches that the model no longer contains.

        If the model is at a state before them, their versions were undone: what they changed is
        then held back. Otherwise the model is another one, and everything is learned again.

        Args:
            history: That of the model.

        Returns:
            How many batches were found.
        """
        with self._writing() as db:
            rows = db.execute(
                "SELECT number, num_before, before, num_after, after FROM batches "
                "WHERE NOT undone ORDER BY number"
            ).fetchall()
            gone = [row for row in rows if digest(history[: row[3]]) != row[4]]
            is_undone = bool(gone) and digest(history[: gone[0][1]]) == gone[0][2]
            for number, *_ in gone:
                db.execute("UPDATE batches SET undone = 1 WHERE number = ?", (number,))
                if is_undone:
                    db.execute(
                        "INSERT OR REPLACE INTO held SELECT clip, labels FROM clips "
                        "WHERE batch = ?",
                        (number,),
                    )
        return len(gone)


def _key(text: str) -> Key:
    return Key(*json.loads(text))
