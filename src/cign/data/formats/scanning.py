"""What in a folder is a clip: regular files that are media, at any depth, through links."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cign.data.clips import Ignored
from cign.data.media.image_files import PICTURE_FOLDER, PICTURE_SUFFIXES
from cign.data.media.recognition import has_media_suffix, is_media
from cign.data.names import escape_name
from cign.data.walking import visible, walk

NOT_MEDIA = "not media"
NAMED_LIKE_MEDIA = "a folder named like a media file"
NO_FILE = "neither a file nor a folder"
DANGLING = "a link to nothing"
LOOSE = "media outside the class folders"
EMPTY = "a class folder without media"
# How several of a kind are told: "3 files are not media".
_SEVERAL = {
    NOT_MEDIA: "files that are not media were ignored",
    NAMED_LIKE_MEDIA: "folders are named like media files; what is in them was read",
    NO_FILE: "entries that are neither files nor folders were ignored",
    DANGLING: "links that lead nowhere were ignored",
    LOOSE: "media files outside the class folders were ignored",
    EMPTY: "class folders hold no media and are no classes",
}
_ONE = {
    NOT_MEDIA: "file that is not media was ignored",
    NAMED_LIKE_MEDIA: "folder is named like a media file; what is in it was read",
    NO_FILE: "entry that is neither a file nor a folder was ignored",
    DANGLING: "link that leads nowhere was ignored",
    LOOSE: "media file outside the class folders was ignored",
    EMPTY: "class folder holds no media and is no class",
}
_MAX_NAMED = 3


@dataclass
class Scan:
    """What was found in the folders of a source.

    Attributes:
        source: The source; names are relative to it.
        ignored: What is no clip.
    """

    source: Path
    ignored: list[Ignored] = field(default_factory=list)

    def media_below(self, folder: Path) -> list[Path]:
        """The media files in a folder and the folders inside, sorted.

        Links are followed. One that leads nowhere is a clip whose file is missing if it is named
        like one. Hidden files and folders are passed over.

        Raises:
            InputError: If a folder cannot be read: its clips would be missing without a word.
        """
        found = []
        for place, folders, files in walk(folder):
            for name in folders:
                if has_media_suffix(Path(name)):
                    self.ignore(place / name, NAMED_LIKE_MEDIA)
            found += [place / name for name in files if self._is_clip(place / name)]
        return sorted(found)

    def media_in(self, folder: Path) -> list[Path]:
        """The media files that lie in a folder itself, sorted."""
        files = [path for path in visible(folder) if path.is_file()]
        return [path for path in files if not _is_picture(path) and is_media(path)]

    def ignore(self, path: Path, reason: str) -> None:
        """List something that is no clip."""
        self.ignored.append(Ignored(self.name_of(path), reason))

    def name_of(self, path: Path) -> str:
        """The id of a file: its path below the source."""
        return escape_name(path.relative_to(self.source).as_posix())

    def _is_clip(self, path: Path) -> bool:
        if path.is_file():
            if is_media(path):
                return True
            if not _is_picture(path):
                self.ignore(path, NOT_MEDIA)
            return False
        is_dangling = path.is_symlink()
        if is_dangling and has_media_suffix(path):
            return True
        self.ignore(path, DANGLING if is_dangling else NO_FILE)
        return False

    def notes(self) -> tuple[str, ...]:
        """One sentence for each reason, with the first names."""
        notes = []
        for reason in _SEVERAL:
            names = [path for path, why in self.ignored if why == reason]
            if names:
                what = f"{len(names)} {(_ONE if len(names) == 1 else _SEVERAL)[reason]}"
                notes.append(f"{what}: {listed(names)}")
        return tuple(notes)


def listed(names: Iterable[str], most: int = _MAX_NAMED) -> str:
    """The first names of a list, and how many follow."""
    names = list(names)
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _is_picture(path: Path) -> bool:
    """Whether it may belong to a sound file in a folder of its own."""
    return PICTURE_FOLDER in path.parts and path.suffix.lower() in PICTURE_SUFFIXES
