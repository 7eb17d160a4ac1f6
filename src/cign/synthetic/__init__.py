"""The embedded benchmark: procedural audio-visual instruments, rendered to real MP4 files."""

from cign.synthetic.classes import SyntheticDataset
from cign.synthetic.clip import (
    Facts,
    Rendered,
    render_audio,
    render_clip,
    render_frames,
    true_intervals,
)
from cign.synthetic.config import VARIANTS, SynthConfig
from cign.synthetic.corpus import clip_path, synthesize
from cign.synthetic.plan import ClipDraw, class_sizes, plan

__all__ = [
    "VARIANTS",
    "ClipDraw",
    "Facts",
    "Rendered",
    "SynthConfig",
    "SyntheticDataset",
    "class_sizes",
    "clip_path",
    "plan",
    "render_audio",
    "render_clip",
    "render_frames",
    "synthesize",
    "true_intervals",
]
