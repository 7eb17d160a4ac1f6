"""Reader of MUSIC: recordings of solos and duets by instrument (Zhao et al. 2018, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cign.data.clips import Clip
from cign.data.formats.ids import check_video, folder_of
from cign.data.formats.labels import listed_label
from cign.data.formats.listing import Listing
from cign.data.formats.lookup import WHOLE_OR_TRIMMED, MediaFinder, Name
from cign.data.formats.registry import register_format
from cign.errors import InputError
from cign.utils.files import read_json


@register_format("music-json")
def read_music(source: Path, media: Sequence[Path] = ()) -> Listing:
    """Read the JSON lists of MUSIC; they have no splits, so corrected splits are made.

    A duet has both instruments as labels.

    Args:
        source: One list, or a folder with lists named ``MUSIC*.json``.
        media: Folders with the recordings; the folder of the lists if empty.

    Raises:
        InputError: If the lists are missing or have other contents.
    """
    lists = [source] if source.is_file() else sorted(source.glob("MUSIC*.json"))
    if not lists:
        raise InputError(
            "file-missing",
            f"folder {source} contains no MUSIC*.json: give MUSIC's list or its folder, or "
            "another --format",
        )
    finder = MediaFinder(list(media) or [folder_of(source)], WHOLE_OR_TRIMMED)
    clips = []
    for path in lists:
        content = read_json(path, "list")
        videos = content.get("videos") if isinstance(content, dict) else None
        if not isinstance(videos, dict) or not all(isinstance(x, list) for x in videos.values()):
            raise InputError(
                "wrong-format",
                f"list {path} has no 'videos' by instrument: give MUSIC's list as published",
            )
        for instruments, ids in videos.items():
            where = f"{path}, {instruments!r}"
            labels = tuple(dict.fromkeys(listed_label(x, where) for x in instruments.split()))
            if not labels:
                raise InputError("bad-list", f"{where}: name an instrument")
            for text in ids:
                video = check_video(text if isinstance(text, str) else "", where)
                clips.append(
                    Clip(
                        id=video,
                        path=finder.find(Name(video), video),
                        labels=labels,
                        split="train",
                        source=video,
                    )
                )
    return Listing(clips=tuple(clips), alphabetical=True, notes=finder.notes(), has_splits=False)
