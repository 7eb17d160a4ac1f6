"""The recordings of tasks: files below the media folders, or downloads from allowed hosts."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote

from cign.data.media.recognition import MEDIA_SUFFIXES
from cign.errors import InputError
from cign.integrations.label_studio.download import Downloads, split_url

_UPLOAD = re.compile(r"[0-9a-f]{8}-(?=.)")  # Label Studio's prefix of an uploaded file
_LOCAL_FILES, _UPLOADS = "/data/local-files", ("/data/upload/", "/upload/", "upload/")
_MAX_CHARACTERS = 4096
_MAX_SHOWN = 120


class Reference(NamedTuple):
    """What a task names as its recording.

    Attributes:
        parts: The parts of its path below a media folder.
        url: Where it can be downloaded; a path on the server of Label Studio begins with a slash.
            Empty if it is a path of a file alone.
    """

    parts: tuple[str, ...]
    url: str


def reference_of(data: Mapping[str, Any], field: str) -> str:
    """The text with which a task names its recording.

    Raises:
        InputError: If the task has no such field, or it is no text.
    """
    if field not in data:
        named = ", ".join(map(str, data)) or "none"
        raise InputError(
            "bad-list",
            f"the task has no field {field!r}, which the labelling interface names (its fields: "
            f"{named[:_MAX_SHOWN]}): import the task with this field",
        )
    text = data[field]
    if not isinstance(text, str) or not text.strip() or len(text) > _MAX_CHARACTERS:
        raise InputError(
            "bad-list",
            f"field {field!r} of the task is {repr(text)[:_MAX_SHOWN]}: give the path or address "
            "of one recording",
        )
    return text.strip()


def parse_reference(text: str) -> Reference:
    """Split a reference into a path below the media folders and an address.

    Raises:
        InputError: If it is invalid, leaves the media folders, or is of a kind that is not
            supported.
    """
    split = split_url(text)
    scheme = split.scheme.lower()
    if scheme in ("http", "https"):
        path, url = unquote(split.path), text
        if split.path.startswith(_LOCAL_FILES):
            path = _local_file(split.query, text)
    elif len(scheme) > 1 and ":" in text.partition("/")[0]:
        raise InputError(
            "unsupported",
            f"{_shown(text)}: {scheme} is not supported; use files below --media, uploads to Label "
            "Studio, or http and https addresses of hosts given with --allow-host",
        )
    elif split.path.startswith(_LOCAL_FILES):
        path, url = _local_file(split.query, text), text
    elif text.startswith(_UPLOADS):
        path = unquote(text.partition("?")[0])
        url = "/data/" + text.lstrip("/").removeprefix("data/")
    else:
        path, url = text, ""
    return Reference(parts=_parts(path, text), url=url)


def _local_file(query: str, text: str) -> str:
    values = parse_qs(query).get("d")
    if not values:
        raise InputError("bad-list", f"{_shown(text)} names no file after ?d=: correct the task")
    return values[-1]


def _parts(path: str, text: str) -> tuple[str, ...]:
    parts = tuple(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))
    if ".." in parts or not path.isprintable():
        raise InputError(
            "bad-value",
            f"{_shown(text)} leaves the media folders: name a file below them, without '..'",
        )
    if not parts:
        raise InputError("bad-list", f"{_shown(text)} is not the name of a file: correct the task")
    return parts


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")


class MediaFiles:
    """Finds the recordings of tasks.

    Args:
        roots: Media folders; files elsewhere are never read.
        downloads: Downloads from allowed hosts; None allows none.
        keep: Folder in which downloads for learning remain; None if nothing is learned.
    """

    def __init__(
        self, roots: Sequence[Path], downloads: Downloads | None = None, keep: Path | None = None
    ) -> None:
        self._roots = tuple(root.absolute() for root in roots)
        self._downloads = downloads
        self._keep = keep

    @contextmanager
    def opened(self, text: str) -> Iterator[Path]:
        """The file of a reference; a download is removed afterwards.

        Raises:
            InputError: If it is missing, may not be read, or cannot be downloaded.
        """
        reference = parse_reference(text)
        found = self._local(reference) or self._kept(text, reference)
        if found is not None:
            yield found
            return
        downloads = self._allowed(text, reference)
        with tempfile.TemporaryDirectory(prefix="cign-label-studio-") as folder:
            yield downloads.fetch(reference.url, Path(folder) / _file_name(text, reference))

    def kept(self, text: str) -> Path:
        """The file of a reference; a download remains in the folder for downloads.

        Raises:
            InputError: See `opened`.
        """
        reference = parse_reference(text)
        found = self._local(reference) or self._kept(text, reference)
        if found is not None:
            return found
        downloads = self._allowed(text, reference)
        assert self._keep is not None
        return downloads.fetch(reference.url, self._keep / _file_name(text, reference))

    def _local(self, reference: Reference) -> Path | None:
        """The file below a media folder: the longest end of the path that exists."""
        names = [reference.parts]
        short = _UPLOAD.sub("", reference.parts[-1])
        if short != reference.parts[-1]:
            names.append((*reference.parts[:-1], short))
        for parts in names:
            for begin in range(len(parts)):
                for root in self._roots:
                    path = root.joinpath(*parts[begin:])
                    if _is_file(path):
                        return path
        return None

    def _kept(self, text: str, reference: Reference) -> Path | None:
        """An earlier download."""
        if self._keep is None or not reference.url:
            return None
        path = self._keep / _file_name(text, reference)
        return path if _is_file(path) else None

    def _allowed(self, text: str, reference: Reference) -> Downloads:
        if self._downloads is None or not self._downloads.allows(reference.url):
            where = ", ".join(map(str, self._roots)) or "no media folder (--media)"
            if not reference.url:
                remedy = "name its folder with --media"
            elif reference.url.startswith("/"):
                remedy = "name its folder with --media, or the server with --label-studio"
            else:
                host = split_url(reference.url).netloc
                remedy = f"name its folder with --media, or allow its host with --allow-host {host}"
            raise InputError("file-missing", f"{_shown(text)} is not found in {where}: {remedy}")
        return self._downloads


def _file_name(text: str, reference: Reference) -> str:
    """Name of the download of a reference."""
    suffix = PurePosixPath(reference.parts[-1]).suffix.lower()
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return digest + (suffix if suffix in MEDIA_SUFFIXES else ".media")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long
        return False
