"""The embedded benchmark: procedural instruments that are seen and heard, as real MP4 files."""

from cign.data.synthetic.classes import World
from cign.data.synthetic.clip import (
    Facts,
    Rendered,
    render_audio,
    render_clip,
    render_frames,
    true_intervals,
)
from cign.data.synthetic.config import VARIANTS, SynthConfig
from cign.data.synthetic.corpus import clip_path, synthesize
from cign.data.synthetic.plan import ClipDraw, class_sizes, plan

__all__ = [
    "VARIANTS",
    "ClipDraw",
    "Facts",
    "Rendered",
    "SynthConfig",
    "World",
    "class_sizes",
    "clip_path",
    "plan",
    "render_audio",
    "render_clip",
    "render_frames",
    "synthesize",
    "true_intervals",
]
