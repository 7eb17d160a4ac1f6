"""A format: a JSON file that maps class names to lists of files, divided by a hash of the path."""

import json

from cign import register_format
from cign.data.clips import Clip
from cign.data.formats import Listing


@register_format("json-classes")
def read_json_classes(source, media):
    """Read ``{"dog": ["a.mp4", ...], ...}``; paths are relative to the file or to ``--media``."""
    root = media[0] if media else source.parent
    clips = [
        Clip(id=name, path=root / name, labels=(label,), split="train")
        for label, names in json.loads(source.read_text(encoding="utf-8")).items()
        for name in names
    ]
    return Listing(clips=tuple(clips), has_splits=False)
