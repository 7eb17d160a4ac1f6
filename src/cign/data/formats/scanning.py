"""Find the clips in a folder: regular files that are media, at any depth, following links."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cign.data.clips import Ignored
from cign.data.media.image_files import PICTURE_FOLDER, PICTURE_SUFFIXES
from cign.data.media.recognition import has_media_suffix, is_media
from cign.data.walking import visible, walk
from cign.utils.file_text import escape_name
from cign.utils.wording import listed

NOT_MEDIA = "not media"
NAMED_LIKE_MEDIA = "a folder named like a media file"
NO_FILE = "neither a file nor a folder"
DANGLING = "a dangling link"
LOOSE = "media outside the class folders"
EMPTY = "a class folder without media"
# Wording of the notes for several entries: "3 files that are not media were ignored".
_SEVERAL = {
    NOT_MEDIA: "files that are not media were ignored",
    NAMED_LIKE_MEDIA: "folders are named like media files; their contents were read",
    NO_FILE: "entries that are neither files nor folders were ignored",
    DANGLING: "dangling links were ignored",
    LOOSE: "media files outside the class folders were ignored",
    EMPTY: "class folders without media were not read as classes",
}
_ONE = {
    NOT_MEDIA: "file that is not media was ignored",
    NAMED_LIKE_MEDIA: "folder is named like a media file; its contents were read",
    NO_FILE: "entry that is neither a file nor a folder was ignored",
    DANGLING: "dangling link was ignored",
    LOOSE: "media file outside the class folders was ignored",
    EMPTY: "class folder without media was not read as a class",
}
MAX_NAMED = 3


@dataclass
class Scan:
    """Scan of the folders of a source.

    Attributes:
        source: The source; names are relative to it.
        ignored: Files and folders that are not clips.
    """

    source: Path
    ignored: list[Ignored] = field(default_factory=list)

    def media_below(self, folder: Path) -> list[Path]:
        """Return the media files in a folder and its subfolders, sorted.

        Links are followed. A dangling link with a media suffix is a clip whose file is missing.
        Hidden files and folders are skipped.

        Raises:
            InputError: If a folder cannot be read: its clips would be missing silently.
        """
        found = []
        for place, folders, files in walk(folder):
            for name in folders:
                if has_media_suffix(Path(name)):
                    self.ignore(place / name, NAMED_LIKE_MEDIA)
            found += [place / name for name in files if self._is_clip(place / name)]
        return sorted(found)

    def media_in(self, folder: Path) -> list[Path]:
        """Return the media files directly in a folder, sorted."""
        files = [path for path in visible(folder) if path.is_file()]
        return [path for path in files if not _is_picture(path) and is_media(path)]

    def ignore(self, path: Path, reason: str) -> None:
        """Record a file or folder that is not a clip."""
        self.ignored.append(Ignored(self.name_of(path), reason))

    def name_of(self, path: Path) -> str:
        """Return the id of a file: its path below the source."""
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
        """Return one sentence for each reason, with the first names."""
        notes = []
        for reason in _SEVERAL:
            names = [path for path, why in self.ignored if why == reason]
            if names:
                what = f"{len(names)} {(_ONE if len(names) == 1 else _SEVERAL)[reason]}"
                notes.append(f"{what}: {listed(names, MAX_NAMED)}")
        return tuple(notes)


def _is_picture(path: Path) -> bool:
    """Return whether a file may be a frame of an audio file, in a separate folder of frames."""
    return PICTURE_FOLDER in path.parts and path.suffix.lower() in PICTURE_SUFFIXES
