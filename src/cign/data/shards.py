"""Shards: tar files of clips, read where they are; no name in them ever becomes a name on the disk.

A path whose folder is a tar file, ``train-000000.tar/000000042.mp4``, names a file in it;
``train-000000.tar/000000042.jpg+wav`` a picture and its sound, put together while reading.
Python's own tarfile finds the members; it reads no links, no devices and no name outside the tar.
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
    """What is in a shard.

    Attributes:
        path: The tar file.
        members: By name where the content begins and its bytes, in the order of the file.
        refused: Names of members that are links, devices, or named outside of the tar.
        damage: What is wrong with the file; empty if nothing is.
    """

    path: Path
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    damage: str = ""

    def read(self, name: str, limit: int | None = None) -> bytes:
        """The content of a member, or its first bytes."""
        offset, size = self.members[name]
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size if limit is None else min(size, limit))


def read_index(path: Path) -> ShardIndex:
    """List a shard; what stands before a damage counts. Kept while the file does not change."""
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
                    damage = f"{info.name!r} breaks off"
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
    """What is wrong with a tar's end: tarfile takes any header it cannot read for it."""
    with path.open("rb") as file:
        file.seek(end)
        block = file.read(_BLOCK)
    if block == bytes(_BLOCK):
        return ""
    return f"it has no end mark at byte {end}" if not block else f"no header at byte {end}"


def _is_inside(name: str) -> bool:
    """Whether a name is one that a folder could hold."""
    path = PurePosixPath(name)
    # A byte that is not UTF-8 may be in a name as well as in that of a file.
    plain = _NO_TEXT.sub("", name).isprintable() and "\\" not in name
    return plain and bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def key_of(name: str) -> tuple[str, str]:
    """Key and extension of a member: the name up to the first dot after its folders, and the rest.

    As WebDataset has it: what belongs to one clip has one key.
    """
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    return f"{folder}{slash}{stem}", extension


def shard_of(path: Path) -> tuple[ShardIndex, list[str]] | None:
    """The shard that a path leads into and the members there; nothing for a path of its own.

    The members are one, or a picture and a sound of one key. They need not exist.
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
    """The file that holds a clip: its own, or the shard."""
    found = None if path.is_file() else shard_of(path)
    return path if found is None else found[0].path


def is_there(path: Path) -> bool:
    """Whether a file, or a member of a shard, exists."""
    if path.is_file():
        return True
    found = shard_of(path)
    return found is not None and all(name in found[0].members for name in found[1])


@contextlib.contextmanager
def as_file(path: Path) -> Iterator[Path]:
    """Give the file that a path names: itself, or a copy of a member while it is needed.

    A copy lies in the folder for temporary files, under a name of ours; decoders read it like any
    file, so that a clip is the same in and outside of a shard.

    Raises:
        ValueError: If picture and sound cannot be put together.
    """
    found = None if path.is_file() else shard_of(path)
    if found is None or any(name not in found[0].members for name in found[1]):
        yield path  # if it is missing, who opens it will say so
        return
    index, names = found
    parts = [index.read(name) for name in names]
    suffix = PurePosixPath(names[0]).suffix if len(names) == 1 else ".mkv"
    with tempfile.NamedTemporaryFile(prefix="cign-", suffix=suffix) as file:
        file.write(parts[0] if len(parts) == 1 else together(*parts))
        file.flush()
        yield Path(file.name)


def together(picture: bytes, sound: bytes) -> bytes:
    """A picture and a sound as one Matroska file; nothing is encoded anew."""
    import av

    from cign.data.media.timeline import IMAGE_TAG

    result = io.BytesIO()
    try:
        with (
            av.open(io.BytesIO(picture), mode="r") as seen,
            av.open(io.BytesIO(sound), mode="r") as heard,
            av.open(result, mode="w", format="matroska") as out,
        ):
            pairs = [(seen.streams.video[0], seen), (heard.streams.audio[0], heard)]
            tracks = [out.add_stream_from_template(stream) for stream, _ in pairs]
            tracks[0].metadata[IMAGE_TAG] = "1"
            for (stream, container), track in zip(pairs, tracks, strict=True):
                for packet in container.demux(stream):
                    if packet.dts is None and packet.size == 0:
                        continue  # the one that ends a stream
                    packet.stream = track
                    out.mux(packet)
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"picture and sound do not go together: {error}") from None
    return result.getvalue()


def holds_shards(folder: Path) -> bool:
    """Whether there are tar files in a folder itself."""
    return folder.is_dir() and any(path.suffix.lower() == SUFFIX for path in visible(folder))


def find_shards(source: Path) -> Iterator[Path]:
    """The shards of a folder, and of folders in it, in the order of their names; or a shard itself.

    Raises:
        InputError: If a shard is compressed, which cannot be read at any place.
    """
    if source.is_file():
        yield source
        return
    files = (place / name for place, _, names in walk(source) for name in names)
    for path in sorted(path for path in files if path.is_file()):
        name = path.name.lower()
        if name.endswith((".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")):
            raise InputError(
                f"shard {path} is compressed and cannot be read by index: uncompress it first, "
                "for example with gunzip"
            )
        if path.suffix.lower() == SUFFIX:
            yield path
