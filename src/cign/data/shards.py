"""Shards: tar files of clips, read in place; member names are never used as file names on disk.

A path whose folder is a tar file, ``train-000000.tar/000000042.mp4``, names a member;
``train-000000.tar/000000042.jpg+wav`` names an image and its audio, which are muxed on reading.
The members are found with Python's tarfile; links, devices and names outside the tar are rejected.
"""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath

from cign.data.walking import visible, walk
from cign.errors import InputError

SUFFIX = ".tar"
_BLOCK = 512
_NO_TEXT = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True)
class ShardIndex:
    """Index of the members of a shard.

    Attributes:
        path: The tar file.
        members: Offset and size in bytes of each member's content, by name, in file order.
        refused: Names of members that are links or devices, or whose names leave the tar.
        damage: Description of a damage of the file; empty if there is none.
    """

    path: Path
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    damage: str = ""

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Read the content of a member, or its first ``limit`` bytes."""
        offset, size = self.members[name]
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size if limit is None else min(size, limit))


def read_index(path: Path) -> ShardIndex:
    """Index a shard, up to the first damage; the index is cached until the file changes."""
    status = path.stat()
    return _read_index(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_index(path: Path, size: int, time_ns: int) -> ShardIndex:
    members: dict[str, tuple[int, int]] = {}
    refused: list[str] = []
    damage, end = "", 0
    try:
        with tarfile.open(path, "r:") as tar:
            while (info := tar.next()) is not None:
                end = info.offset_data + (0 if not info.isreg() else _whole_blocks(info.size))
                if info.offset_data + info.size > size:
                    damage = f"{info.name!r} is truncated"
                    break
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse() or not _is_inside(info.name):
                    refused.append(info.name)
                    continue
                members[str(PurePosixPath(info.name))] = (info.offset_data, info.size)
                tar.members.clear()  # type: ignore[attr-defined]
        damage = damage or _end_of(path, end)
    except (tarfile.TarError, EOFError, ValueError, OSError) as error:
        damage = f"{str(error).splitlines()[0] or type(error).__name__} at byte {end}"
    return ShardIndex(path, members, tuple(refused), damage)


def _whole_blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _end_of(path: Path, end: int) -> str:
    """Describe a damage of a tar's end: tarfile treats any unreadable header as the end."""
    with path.open("rb") as file:
        file.seek(end)
        block = file.read(_BLOCK)
    if block == bytes(_BLOCK):
        return ""
    return f"it has no end mark at byte {end}" if not block else f"no header at byte {end}"


def _is_inside(name: str) -> bool:
    """Return whether a name is a valid relative path inside a folder."""
    path = PurePosixPath(name)
    # Bytes that are not UTF-8 are allowed, as in file names.
    plain = _NO_TEXT.sub("", name).isprintable() and "\\" not in name
    return plain and bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def key_of(name: str) -> tuple[str, str]:
    """Split a member's name at the first dot after its folders into key and extension.

    As in WebDataset, all members of a clip have the same key.
    """
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension


def shard_of(path: Path) -> tuple[ShardIndex, list[str]] | None:
    """Return the shard and the members that a path names; None for a path outside of shards.

    There is one member, or an image and an audio member of the same key. They need not exist.
    """
    for parent in path.parents:
        if parent.suffix.lower() == SUFFIX and parent.is_file():
            index, name = read_index(parent), path.relative_to(parent).as_posix()
            first, plus, second = name.rpartition("+")
            if name in index.members or not plus:
                return index, [name]
            return index, [first, f"{key_of(first)[0]}.{second}"]
    return None


def on_disk(path: Path) -> Path:
    """Return the file on disk that contains a clip: the clip's own file, or the shard."""
    found = None if path.is_file() else shard_of(path)
    return path if found is None else found[0].path


def media_exists(path: Path) -> bool:
    """Return whether a file, or a member of a shard, exists."""
    if path.is_file():
        return True
    found = shard_of(path)
    return found is not None and all(name in found[0].members for name in found[1])


@contextlib.contextmanager
def as_file(path: Path) -> Iterator[Path]:
    """Yield the file of a path: the path itself, or a temporary copy of a member of a shard.

    The copy is in the folder for temporary files, under a generated name. Decoders read it like
    any file, so that a clip is decoded identically in and outside of a shard.

    Raises:
        ValueError: If image and audio cannot be muxed.
    """
    found = None if path.is_file() else shard_of(path)
    if found is None or any(name not in found[0].members for name in found[1]):
        yield path  # opening it reports a missing file
        return
    index, names = found
    parts = [index.read(name) for name in names]
    suffix = PurePosixPath(names[0]).suffix if len(names) == 1 else ".mkv"
    with tempfile.NamedTemporaryFile(prefix="cign-", suffix=suffix) as file:
        file.write(parts[0] if len(parts) == 1 else together(*parts))
        file.flush()
        yield Path(file.name)


def together(image: bytes, audio: bytes) -> bytes:
    """Mux an image and audio to a Matroska file, without encoding them again."""
    import av

    from cign.data.media.timeline import IMAGE_TAG

    result = io.BytesIO()
    try:
        with (
            av.open(io.BytesIO(image), mode="r") as visual_input,
            av.open(io.BytesIO(audio), mode="r") as audio_input,
            av.open(result, mode="w", format="matroska") as out,
        ):
            pairs = [
                (visual_input.streams.video[0], visual_input),
                (audio_input.streams.audio[0], audio_input),
            ]
            tracks = [out.add_stream_from_template(stream) for stream, _ in pairs]
            tracks[0].metadata[IMAGE_TAG] = "1"
            for (stream, container), track in zip(pairs, tracks, strict=True):
                for packet in container.demux(stream):
                    if packet.dts is None and packet.size == 0:
                        continue  # the flush packet at the end of a stream
                    packet.stream = track
                    out.mux(packet)
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"image and audio cannot be combined: {error}") from None
    return result.getvalue()


def holds_shards(folder: Path) -> bool:
    """Return whether there are tar files directly in a folder."""
    return folder.is_dir() and any(path.suffix.lower() == SUFFIX for path in visible(folder))


def find_shards(source: Path) -> Iterator[Path]:
    """Yield the shards of a folder and its subfolders, sorted by path; or the given shard itself.

    Raises:
        InputError: If a shard is compressed, which does not allow random access.
    """
    if source.is_file():
        yield source
        return
    files = (place / name for place, _, names in walk(source) for name in names)
    for path in sorted(path for path in files if path.is_file()):
        name = path.name.lower()
        if name.endswith((".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")):
            raise InputError(
                "wrong-format",
                f"shard {path} is compressed and cannot be read by index: uncompress it first, "
                "for example with gunzip",
            )
        if path.suffix.lower() == SUFFIX:
            yield path
