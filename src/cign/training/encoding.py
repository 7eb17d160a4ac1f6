"""Tokens of clips, computed once by the encoders that a method contains."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from cign.data.arrays import RowWriter, check_space, create_array, map_array, num_bytes
from cign.data.batches import ArraySource, ClipSource
from cign.data.tasks import IntArray
from cign.errors import InputError
from cign.layers.rounding import plain_products
from cign.methods.base import Method
from cign.methods.capabilities import updatable
from cign.utils.devices import device_of
from cign.utils.progress import Progress, Silent
from cign.vocabulary import UNIMODAL

BATCH = 32  # clips, as for the cached tokens of a store


@torch.inference_mode()
def encode_clips(
    method: Method,
    source: ClipSource,
    indices: IntArray,
    folder: Path,
    progress: Progress | None = None,
) -> ArraySource:
    """Encode clips into files of float16 tokens.

    Args:
        method: An updatable method that contains its encoders; it is put into evaluation mode.
        source: Reads the media of the clips.
        indices: The clips, each once, in ascending order.
        folder: Folder of the files, which are mapped into memory.
        progress: Advanced for each clip.

    Returns:
        A source that reads the tokens of these clips by the same indices.

    Raises:
        InputError: If tokens are not finite in float16.
        RunError: If the disk is full.
    """
    encoding = updatable(method)
    assert encoding is not None
    progress, device, of = progress or Silent(), device_of(method), asdict(method.setup.shape)
    shapes = {
        name: (len(indices), of[f"num_{name}_tokens"], of[f"{name}_dim"]) for name in UNIMODAL
    }
    paths = {name: folder / f"{name}.npy" for name in UNIMODAL}
    size = sum(num_bytes(shape, "float16") for shape in shapes.values())
    check_space(folder, size)
    for name in UNIMODAL:
        create_array(paths[name], shapes[name], "float16")
    method.eval()
    progress.start("tokens of the model's encoders", len(indices))
    with RowWriter(paths["audio"]) as audio_file, RowWriter(paths["visual"]) as visual_file:
        for start in range(0, len(indices), BATCH):
            some = indices[start : start + BATCH]
            audio, visual = source.read(some)
            with plain_products():  # another thread may be predicting
                tokens = encoding.tokens(audio.to(device), visual.to(device))
            for file, values in zip((audio_file, visual_file), tokens, strict=True):
                if not bool(values.isfinite().all()):
                    raise InputError(
                        "bad-value",
                        "the model's encoders give NaN or values beyond 65504 for these clips: "
                        "train it with a lower learning rate",
                    )
                file.write(start, values.half().cpu().numpy())
            progress.advance(len(some))
    progress.stop()
    arrays = [map_array(paths[name], shapes[name], "float16", str(folder)) for name in UNIMODAL]
    audio_tokens, visual_tokens = arrays

    def rows(some: IntArray) -> IntArray:
        return np.searchsorted(indices, some)

    return ArraySource(
        lambda some: np.asarray(audio_tokens[rows(some)]),
        lambda some: np.asarray(visual_tokens[rows(some)]),
        size // max(1, len(indices)),
    )
