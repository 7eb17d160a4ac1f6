"""Whether a source of new clips states splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cign.data.clips import Clip
from cign.data.formats.detect import detect_format
from cign.data.formats.features.source import open_features
from cign.data.formats.folders import read_folders
from cign.data.formats.label_texts import BACKGROUND
from cign.data.formats.registry import is_without_splits
from cign.data.prepare.features import is_feature_source
from cign.errors import InputError


def without_splits(source: Path, clips: Sequence[Clip], format: str | None = None) -> bool:
    """Whether a source states no splits: class folders, features, labels of annotation tools."""
    if is_without_splits(format or detect_format(source)):
        return True
    if is_feature_source(source):
        return not open_features(source).has_splits
    names = (clip.labels[0] if clip.labels else BACKGROUND for clip in clips)
    if any(clip.id.partition("/")[0] != name for clip, name in zip(clips, names, strict=True)):
        return False
    try:
        listed = {clip.id: clip.split for clip in read_folders(source.absolute()).clips}
    except InputError:
        return False
    return all(listed.get(clip.id) == clip.split for clip in clips)
