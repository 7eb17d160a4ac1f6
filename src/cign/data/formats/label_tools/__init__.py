"""Labels of annotation tools: segments of long recordings, in both directions.

Each tool has a module that registers its reader as a format, and its writer with
`cign.data.formats.label_tools.tracks.register_writer`.
"""

from cign.data.formats.label_tools import (
    audacity,
    cvat,
    elan,
    label_studio,
    label_studio_tasks,
    raven,
    via,
)

__all__ = ["audacity", "cvat", "elan", "label_studio", "label_studio_tasks", "raven", "via"]
