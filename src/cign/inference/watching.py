"""Watch folders for new media files. This module does not import torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cign.data.media.recognition import is_media
from cign.data.media.side_by_side import PAUSE, Pause
from cign.inference.predicted_files import PredictedFiles, Signature
from cign.utils.wording import duration

SETTLE_S = 2.0
_POLL_S = 0.5
# A scan takes at most this share of the time.
_SHARE = 0.1
_GROWING_S = 60.0


@dataclass
class _Seen:
    """A file that is not complete, or not known to be."""

    signature: Signature
    changed_s: float  # since when it has this signature
    first_s: float
    is_reported: bool = False


class FolderWatcher:
    """Finds the files of folders that are complete and were not predicted.

    A file is complete when its size and its time of change have been the same for some seconds; so
    is one that was renamed into place. Hidden files and folders are ignored: programs that write a
    hidden file and rename it are never read too early.

    Args:
        folders: Folders, searched with all folders inside.
        done: The files that were predicted.
        settle_s: Seconds without change after which a file is complete.
        remark: Called with the name of a file or folder and what is the matter.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        done: PredictedFiles,
        *,
        settle_s: float = SETTLE_S,
        remark: Callable[[str, str], None] | None = None,
    ) -> None:
        self._folders, self._done, self._settle_s = list(folders), done, settle_s
        self._remark = remark or (lambda name, text: None)
        self._seen: dict[str, _Seen] = {}
        self._given: dict[str, Signature] = {}
        self._no_media: dict[str, Signature] = {}
        self._gone: dict[Path, float] = {}

    def names(self, stopped: Callable[[], bool] = lambda: False) -> Iterator[str | Pause]:
        """Yield names of files as they become complete, with a `Pause` before each wait.

        Args:
            stopped: Ends watching.
        """
        while not stopped():
            begun_s = time.monotonic()
            complete = list(self.scan(begun_s))
            took_s = time.monotonic() - begun_s  # not the predictions of the names
            yield from complete
            yield PAUSE
            # Whoever asks for more has written the predictions of all names before.
            for name in list(self._given):
                self.finished(name)
            time.sleep(max(min(_POLL_S, self._settle_s / 2), took_s * (1 / _SHARE - 1)))

    def finished(self, name: str) -> None:
        """Record that the prediction of a file was written."""
        signature = self._given.pop(name, None)
        if signature is not None:
            self._done.add(name, signature)

    def scan(self, now_s: float) -> Iterator[str]:
        """Look at all folders once; yield the files that are complete now.

        Args:
            now_s: Time on a monotonic clock.
        """
        present: set[str] = set()
        for folder in self._folders:
            if not self._is_there(folder, now_s):
                present.update(n for n in self._seen if Path(n).is_relative_to(folder))
                continue
            for name, signature in sorted(_files(folder)):
                present.add(name)
                if self._is_new(name, signature) and self._is_complete(name, signature, now_s):
                    del self._seen[name]
                    if is_media(Path(name)):
                        if self._done.get(name) is not None:
                            self._remark(name, "it has changed since and is predicted again")
                        self._given[name] = signature
                        yield name
                    else:
                        self._no_media[name] = signature
        for name in [name for name in self._seen if name not in present]:
            del self._seen[name]

    def _is_new(self, name: str, signature: Signature) -> bool:
        known = (self._done.get(name), self._given.get(name), self._no_media.get(name))
        if signature in known:
            self._seen.pop(name, None)
            return False
        return True

    def _is_complete(self, name: str, signature: Signature, now_s: float) -> bool:
        seen = self._seen.get(name)
        if seen is None:
            self._seen[name] = _Seen(signature, now_s, now_s)
        elif signature != seen.signature:
            seen.signature, seen.changed_s = signature, now_s
            if now_s - seen.first_s >= _GROWING_S and not seen.is_reported:
                seen.is_reported = True
                self._remark(
                    name,
                    f"it has been growing for {duration(now_s - seen.first_s)} and is predicted "
                    "when it is complete; to predict it while it grows, name the file itself",
                )
        elif now_s - seen.changed_s >= self._settle_s and signature[0] > 0:
            return True
        return False

    def _is_there(self, folder: Path, now_s: float) -> bool:
        if folder.is_dir():
            since_s = self._gone.pop(folder, None)
            if since_s is not None:
                self._remark(str(folder), f"the folder is back after {duration(now_s - since_s)}")
            return True
        if folder not in self._gone:
            self._gone[folder] = now_s
            self._remark(str(folder), "the folder has disappeared: waiting until it is back")
        return False


def _files(folder: Path) -> Iterator[tuple[str, Signature]]:
    """Visible regular files below a folder; what cannot be read now is found later."""
    waiting, seen = [str(folder)], set()
    while waiting:
        place = waiting.pop()
        try:
            real = os.path.realpath(place)
            if real in seen:  # a link to a parent folder
                continue
            seen.add(real)
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        waiting.append(entry.path)
                    elif entry.is_file():
                        status = entry.stat()
                        yield entry.path, (status.st_size, status.st_mtime_ns)
        except OSError:
            continue
