"""Recognise media files: by a known suffix; other files are opened."""

from __future__ import annotations

import codecs
from pathlib import Path

import av
from av.stream import Disposition

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"}
    | {".flv", ".wmv", ".3gp", ".ogv", ".vob", ".gif", ".asf", ".f4v", ".3g2", ".mxf", ".divx"}
)
AUDIO_SUFFIXES = frozenset(
    {".wav", ".mp3", ".m4a", ".aac", ".flac", ".ogg", ".oga", ".opus", ".wma", ".aiff", ".ac3"}
    | {".aif", ".aifc", ".caf", ".mka", ".mp2", ".wv", ".m4b", ".au", ".amr", ".weba"}
)
MEDIA_SUFFIXES = VIDEO_SUFFIXES | AUDIO_SUFFIXES

# FFmpeg opens images as videos of one frame, and some texts as terminal output; playlists refer
# to other files.
_NO_MEDIA = frozenset({"image2", "ico", "tty", "hls", "concat", "dash", "imf"})
_SNIFFED_BYTES = 4096
# Control characters that a text file may contain: tab, line ends, form feed, escape.
_TEXT_CONTROLS = frozenset("\t\n\r\f\x1b")


def has_media_suffix(path: Path) -> bool:
    """Return whether a file's name ends in a known suffix."""
    return path.suffix.lower() in MEDIA_SUFFIXES


def is_media(path: Path) -> bool:
    """Return whether a regular file is media, by a known suffix or else by its content.

    A file with a known suffix may be damaged; decoding detects that.
    """
    return has_media_suffix(path) or kind_of(path) is not None


def kind_of(path: Path) -> str | None:
    """Return the kind of a file by its content; only its headers are read.

    Args:
        path: A file; a pipe or a device is never opened.

    Returns:
        ``video`` (with or without audio) or ``audio``; None if the file is neither, for example a
        text or a single image, or if it cannot be read.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            if is_text(file.read(_SNIFFED_BYTES)):
                return None
        # As in `container`: an absolute path is not parsed as a protocol, and a playlist cannot
        # open a URL.
        with av.open(
            str(path.absolute()),
            metadata_errors="replace",
            container_options={"protocol_whitelist": "file"},
        ) as container:
            names = set(container.format.name.split(","))
            if names & _NO_MEDIA or any(name.endswith("_pipe") for name in names):
                return None
            kinds = {
                stream.type
                for stream in container.streams
                if stream.codec_context is not None
                and not stream.disposition & Disposition.attached_pic
            }
            return next((kind for kind in ("video", "audio") if kind in kinds), None)
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def is_text(begin: bytes) -> bool:
    """Return whether the first bytes of a file are UTF-8 text; true for an empty file."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(begin)
    except UnicodeDecodeError:
        return False
    return not any(char < " " and char not in _TEXT_CONTROLS for char in text)
