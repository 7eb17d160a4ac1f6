"""Decoding presets by name: what published pipelines take of a clip.

A preset is only what is decoded, so that a store is described by four numbers. Filter banks, their
mean and deviation, and the normalisation of pictures belong to the backbone that reads the store
(`cign.backbones.hub`): they come from its own folder.
"""

from __future__ import annotations

from cign.data.media.decode import PRESETS as BASIC
from cign.data.media.decode import MediaSpec

# Clips of the benchmarks are 10 s long. A filter bank of 1,024 frames with a hop of 10 ms covers
# 10.24 s; the pipelines below pad it with zeros, and so does the backbone.
PRESETS: dict[str, MediaSpec] = {
    **BASIC,
    # AV-CIL's released code: 16 frames spread over the clip for VideoMAE at 224 px, the whole sound
    # for AudioMAE (128 bins, 1,024 frames, neither mean nor deviation taken out).
    "av_cil": MediaSpec(num_frames=16, frame_px=224, rate_hz=16_000, window_s=10.0),
    # AST (arXiv 2104.01778): sound alone; the middle frame goes with it.
    "ast": MediaSpec(num_frames=1, frame_px=224, rate_hz=16_000, window_s=10.0),
    # CAV-MAE's released code: 10 frames spread over the clip.
    "cav_mae": MediaSpec(num_frames=10, frame_px=224, rate_hz=16_000, window_s=10.0),
    # PE-AV's checkpoints named 16-frame: 16 frames spread over the clip.
    "pe_av": MediaSpec(num_frames=16, frame_px=336, rate_hz=48_000, window_s=10.0),
}
