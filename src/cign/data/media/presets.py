"""Decoding presets by name: frames and audio of a clip as used by published pipelines.

A preset defines only what is decoded, so four numbers describe a store. Filter banks, their mean
and standard deviation, and the normalisation of images belong to the backbone that reads the
store (`cign.backbones.hub`); they are read from the backbone's folder.
"""

from __future__ import annotations

from cign.data.media.decode import PRESETS as BASIC
from cign.data.media.decode import MediaSpec

# Clips of the benchmarks are 10 s long. A filter bank of 1,024 frames with a hop of 10 ms covers
# 10.24 s; the pipelines below pad it with zeros, and so does the backbone.
PRESETS: dict[str, MediaSpec] = {
    **BASIC,
    # AV-CIL's released code: 16 frames spread over the clip for VideoMAE at 224 px, and the
    # complete audio for AudioMAE (128 bins, 1,024 frames, not normalised by mean and deviation).
    "av_cil": MediaSpec(num_frames=16, frame_px=224, rate_hz=16_000, window_s=10.0),
    # AST (arXiv 2104.01778): audio only; the middle frame is decoded in addition.
    "ast": MediaSpec(num_frames=1, frame_px=224, rate_hz=16_000, window_s=10.0),
    # CAV-MAE's released code: 10 frames spread over the clip.
    "cav_mae": MediaSpec(num_frames=10, frame_px=224, rate_hz=16_000, window_s=10.0),
    # PE-AV's checkpoints named 16-frame: 16 frames spread over the clip.
    "pe_av": MediaSpec(num_frames=16, frame_px=336, rate_hz=48_000, window_s=10.0),
    # `lite0+sfx` on whole clips of the benchmarks (ours).
    "real_10s": MediaSpec(num_frames=4, frame_px=224, rate_hz=44_100, window_s=10.0),
}
