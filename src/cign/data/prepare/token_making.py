"""Compute and cache the tokens of a store, once per backbone.

Legend: N rows of the store, B clips of a batch, L samples, K frames, S pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cign.data.arrays import RowWriter, create_array, describe_bytes, disk_errors, free_bytes
from cign.data.intact import write_checksums
from cign.data.media.decode import MediaSpec
from cign.data.store import Store
from cign.data.tokens import FORMAT, TokenCache, token_shapes, tokens_folder
from cign.errors import InputError, RunError
from cign.utils.files import read_json, write_json
from cign.utils.progress import Progress, Silent

if TYPE_CHECKING:
    from torch import Tensor

CLIPS_PER_BLOCK = 512  # at most this many clips are computed again after an interruption


class TokenMaker(Protocol):
    """Backbone interface of `make_tokens`; implemented by `cign.backbones.registry.Backbone`."""

    name: str
    spec: MediaSpec
    audio_dim: int
    visual_dim: int
    audio_grid: tuple[int, int]
    visual_grid: tuple[int, int]

    @property
    def num_audio_tokens(self) -> int:
        """Number of audio tokens per clip."""

    @property
    def num_visual_tokens(self) -> int:
        """Number of visual tokens per clip."""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and of the preprocessing of the input."""

    def audio_tokens(self, audio: Tensor) -> Tensor:
        """Map int16 [B, L] to [B, num_audio_tokens, audio_dim]."""

    def visual_tokens(self, frames: Tensor) -> Tensor:
        """Map uint8 [B, K, S, S, 3] to [B, num_visual_tokens, visual_dim]."""


def check_backbone(spec: MediaSpec, backbone: TokenMaker, what: str) -> None:
    """Reject a backbone that expects other frames or audio.

    Raises:
        InputError: If the specifications differ; the message names both.
    """
    if backbone.spec != spec:
        raise InputError(
            "store-mismatch",
            f"backbone {backbone.name!r} takes {_describe(backbone.spec)}, but {what} holds "
            f"{_describe(spec)}: choose the preset that fits the backbone, and a new store folder",
        )


def _describe(spec: MediaSpec) -> str:
    return f"{spec.num_frames} x {spec.frame_px} px and {spec.window_s:g} s at {spec.rate_hz} Hz"


def make_tokens(
    store: Store,
    backbone: TokenMaker,
    *,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> TokenCache:
    """Compute the tokens of all clips of a store, or resume an interrupted computation.

    Resuming is bit-exact: store and batch size determine the clips of each batch, the last batch
    is padded, and results are rounded to float16. With another batch size, values may differ in
    the last digit.

    Args:
        store: The store; the caller holds its lock.
        backbone: Computes the tokens; it must be in evaluation mode.
        batch_size: Clips per batch.
        progress: Notified of every batch.

    Raises:
        InputError: If the backbone expects other input, or if tokens of other weights are stored
            under its name. Runs may depend on those tokens, so they are never overwritten.
        RunError: If the disk is full.
    """
    check_backbone(store.media_spec, backbone, f"store {store.folder}")
    progress = progress or Silent()
    place = tokens_folder(store.folder, backbone.name)
    num_rows = int(store.info["num_rows"])
    info = {
        "format": FORMAT,
        "backbone": backbone.name,
        "source": vars(backbone).get("source", backbone.name),
        "fingerprint": backbone.fingerprint,
        "runtime": getattr(backbone, "runtime", "torch"),
        "num_audio_tokens": backbone.num_audio_tokens,
        "audio_dim": backbone.audio_dim,
        "audio_grid": list(backbone.audio_grid),
        "num_visual_tokens": backbone.num_visual_tokens,
        "visual_dim": backbone.visual_dim,
        "visual_grid": list(backbone.visual_grid),
    }
    partial = {**info, "batch_size": batch_size}
    done = _find_done(place, info, partial)
    if done is None:
        return TokenCache.open(store.folder, backbone.name, store.rows, num_rows)
    shapes = token_shapes(info, num_rows)
    if done == 0:
        check_token_space(store.folder, backbone, num_rows)
        place.mkdir(parents=True, exist_ok=True)
        for kind, shape in shapes.items():
            create_array(place / f"{kind}.npy", shape, "float16")
        write_json(place / "partial.json", {**partial, "num_done": 0})
    with disk_errors(place):
        _compute(store, backbone, place, done, partial, progress)
        write_checksums(place)
        write_json(place / "tokens.json", info)
    (place / "partial.json").unlink()
    return TokenCache.open(store.folder, backbone.name, store.rows, num_rows)


def bytes_per_clip(backbone: TokenMaker) -> int:
    """Return the size of a clip's half-precision tokens in bytes."""
    audio = backbone.num_audio_tokens * backbone.audio_dim
    return 2 * (audio + backbone.num_visual_tokens * backbone.visual_dim)


def check_token_space(folder: Path, backbone: TokenMaker, num_rows: int, others: int = 0) -> int:
    """Check before any computation that the tokens fit on the disk.

    Args:
        folder: Folder of the store; it need not exist yet.
        backbone: Computes the tokens.
        num_rows: Rows of the store.
        others: Bytes that the store needs in addition.

    Returns:
        Bytes that the tokens need; 0 if they are complete or partly computed.

    Raises:
        RunError: If they do not fit.
    """
    place = tokens_folder(folder, backbone.name)
    if (place / "tokens.json").exists() or (place / "partial.json").exists():
        return 0
    needed = num_rows * bytes_per_clip(backbone)
    free = free_bytes(folder)
    if needed + others > free:
        raise RunError(
            "disk-full",
            f"the tokens of {num_rows} clips by backbone {backbone.name!r} take "
            f"{describe_bytes(needed)} ({describe_bytes(bytes_per_clip(backbone))} per clip), but "
            f"{folder} has {describe_bytes(max(free - others, 0))} free for them: use fewer with "
            "--tokens pooled or, for example, 2x2, or use a store folder on another disk",
        )
    return needed


def describe_tokens(backbone: TokenMaker, num_rows: int) -> str:
    """Describe the size of a store's tokens in one line."""
    parts = [
        f"{number} x {width} {what}"
        for what, number, width in (
            ("audio", backbone.num_audio_tokens, backbone.audio_dim),
            ("visual", backbone.num_visual_tokens, backbone.visual_dim),
        )
    ]
    each = bytes_per_clip(backbone)
    return (
        f"tokens of {backbone.name}: {' and '.join(parts)}, {describe_bytes(each)} per clip, "
        f"{describe_bytes(each * num_rows)} for {num_rows} clips"
    )


def _find_done(place: Path, info: dict[str, Any], partial: dict[str, Any]) -> int | None:
    """Return the number of clips whose tokens are computed; None if all are."""
    if (place / "tokens.json").exists():
        found = read_json(place / "tokens.json", "token cache")
        ignored = {"source": None, "runtime": None}
        if {**found, **ignored} == {**info, **ignored}:
            if found.get("source") != info["source"]:  # the backbone's folder has moved
                write_json(place / "tokens.json", info)
            return None
        raise InputError(
            "weights-mismatch",
            f"{place} holds tokens of other weights than those of backbone {info['backbone']!r} "
            f"(fingerprint {str(found.get('fingerprint'))[:12]}, now {info['fingerprint'][:12]}): "
            "use a new store folder, or remove that folder if no run needs it",
        )
    # An unfinished computation is only continued by the same runtime.
    if (place / "partial.json").exists():
        found = read_json(place / "partial.json", "unfinished token cache")
        ignored = {"num_done": None, "source": None}
        if {**found, **ignored} == {**partial, **ignored}:
            return int(found["num_done"])
    return 0


def _compute(
    store: Store,
    backbone: TokenMaker,
    place: Path,
    done: int,
    partial: dict[str, Any],
    progress: Progress,
) -> None:
    import torch

    assert not getattr(backbone, "training", False)
    parameters = backbone.parameters() if isinstance(backbone, torch.nn.Module) else iter(())
    device = next(parameters, torch.empty(0)).device
    batch_size = int(partial["batch_size"])
    per_block = max(1, CLIPS_PER_BLOCK // batch_size) * batch_size
    progress.start(f"tokens of {backbone.name}", store.num_clips)
    progress.advance(done)
    with (
        torch.inference_mode(),
        RowWriter(place / "audio.npy") as audio_file,
        RowWriter(place / "visual.npy") as visual_file,
    ):
        for start in range(done, store.num_clips, batch_size):
            end = min(start + batch_size, store.num_clips)
            # Pad the last batch with its last clip: kernels may differ with the batch size.
            indices = np.minimum(np.arange(start, start + batch_size), store.num_clips - 1)
            audio = backbone.audio_tokens(torch.from_numpy(store.audio(indices)).to(device))
            visual = backbone.visual_tokens(torch.from_numpy(store.frames(indices)).to(device))
            for file, tokens, is_present in (
                (audio_file, audio, store.audio_ok),
                (visual_file, visual, store.visual_ok),
            ):
                values = tokens[: end - start].to(torch.float16).cpu().numpy()
                if not np.isfinite(values).all():
                    raise InputError(
                        "bad-value",
                        f"backbone {backbone.name!r} gives NaN or values beyond 65504 for clips "
                        f"{start} to {end}: its weights do not fit; use other weights",
                    )
                values = np.where(is_present[start:end, None, None], values, np.float16(0))
                _write_rows(file, store.rows[start:end], values)
            progress.advance(end - start)
            if end % per_block == 0:
                audio_file.sync()
                visual_file.sync()
                write_json(place / "partial.json", {**partial, "num_done": end})
        audio_file.sync()
        visual_file.sync()
    progress.stop()


def _write_rows(file: RowWriter, rows: Sequence[int] | NDArray[np.int64], values: Any) -> None:
    for row, value in zip(rows, values, strict=True):
        file.write(int(row), value[None])
