"""Cached tokens: the output of a frozen backbone for every clip, memory-mapped.

Legend: N rows of the store, B clips of a batch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cign.data.arrays import map_array, release_pages
from cign.errors import InputError
from cign.utils.files import read_json

FORMAT = 1

_ENCODERS = re.compile(r"[A-Za-z0-9][\w.+@-]*(/[\w.+@-]+)*")

# The backbone of tokens that were not computed here but given as features: this name, followed by a
# colon and the name of their encoders if it is given.
FEATURES = "features"

Indices = NDArray[np.integer[Any]] | Sequence[int] | slice


@dataclass(frozen=True)
class TokenCache:
    """The tokens of a store's clips by one backbone, memory-mapped.

    Attributes:
        info: Contents of ``tokens.json``: ``backbone, source, fingerprint, runtime,
            num_audio_tokens, audio_dim, audio_grid, num_visual_tokens, visual_dim, visual_grid``.
        rows: int64 [num_clips], the array row of each clip.
    """

    info: dict[str, Any]
    rows: NDArray[np.int64]
    _audio: NDArray[np.float16]
    _visual: NDArray[np.float16]

    @classmethod
    def open(
        cls, folder: Path, backbone: str, rows: NDArray[np.int64], num_rows: int
    ) -> TokenCache:
        """Open the finished tokens of a store.

        Raises:
            InputError: If they are missing, unfinished or damaged.
        """
        place = tokens_folder(folder, backbone)
        if not (place / "tokens.json").exists():
            available = ", ".join(cache_names(folder)) or "none"
            raise InputError(
                "store-mismatch",
                f"store {folder} contains no tokens of backbone {backbone!r} (available: "
                f"{available}): make them with `cign prepare ... --backbone {backbone}`",
            )
        info = read_json(place / "tokens.json", "token cache")
        what = f"token cache {place}"
        try:
            shapes = token_shapes(info, num_rows)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InputError(
                "damaged", f"{what}: tokens.json is damaged: remove the folder"
            ) from None
        number = info.get("format")
        if not isinstance(number, int) or number > FORMAT:
            raise InputError(
                "wrong-version", f"{what} has a newer format: update cign, or remove the folder"
            )
        return cls(
            info=info,
            rows=rows,
            _audio=map_array(place / "audio.npy", shapes["audio"], "float16", what),
            _visual=map_array(place / "visual.npy", shapes["visual"], "float16", what),
        )

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the weights that computed the tokens."""
        return str(self.info["fingerprint"])

    @property
    def arrays(self) -> tuple[NDArray[np.float16], NDArray[np.float16]]:
        """Audio and visual tokens of all rows of the store, mapped."""
        return self._audio, self._visual

    def audio(self, indices: Indices) -> NDArray[np.float16]:
        """Return a copy of clips' audio tokens, [B, num_audio_tokens, audio_dim].

        Clips without an audio track have zeros.
        """
        return np.asarray(self._audio[self.rows[indices]])

    def visual(self, indices: Indices) -> NDArray[np.float16]:
        """Return a copy of clips' visual tokens, [B, num_visual_tokens, visual_dim].

        Clips without a video track have zeros.
        """
        return np.asarray(self._visual[self.rows[indices]])

    def release(self) -> None:
        """Take the pages that were read out of this process' memory (`release_pages`)."""
        release_pages(self._audio)
        release_pages(self._visual)


def cache_name(backbone: str) -> str:
    """Return the name of a backbone's token cache: absolute folders contribute their last part.

    Args:
        backbone: Hub names and folders, joined by ``+``.
    """
    parts = backbone.split("+")
    return "+".join(p.rstrip("/").rpartition("/")[2] if p.startswith("/") else p for p in parts)


def features_name(encoders: str | None) -> str:
    """Return the name of the backbone of given features.

    Args:
        encoders: Name of the encoders that computed them, if it is given; the name of the backbone
            itself is accepted too.

    Raises:
        InputError: If it cannot be the name of encoders.
    """
    if encoders is None or encoders == FEATURES:
        return FEATURES
    encoders = encoders.removeprefix(f"{FEATURES}:")
    if not _ENCODERS.fullmatch(encoders):
        raise InputError(
            "bad-value",
            f"name of encoders {encoders!r} is invalid: use letters, digits and . _ - + @ /, for "
            "example openl3 or clip-vit-b32+vggish",
        )
    return f"{FEATURES}:{encoders}"


def is_features(backbone: str) -> bool:
    """Return whether a name is that of given features, whose encoders are not available."""
    return backbone == FEATURES or backbone.startswith(f"{FEATURES}:")


def source_of(info: dict[str, Any]) -> str:
    """Return the identifier that loads a token cache's backbone, from ``tokens.json``."""
    return str(info.get("source", info["backbone"]))


def tokens_folder(folder: Path, backbone: str) -> Path:
    """Return the folder of a backbone's tokens; a name with slashes becomes a single folder."""
    return folder / "tokens" / cache_name(backbone).strip("/").replace("/", "--")


def cache_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the backbones whose tokens are complete."""
    files = sorted((folder / "tokens").glob("*/tokens.json"))
    return tuple(str(read_json(file, "token cache").get("backbone")) for file in files)


def token_shapes(info: dict[str, Any], num_rows: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the two arrays, from the contents of ``tokens.json``."""
    return {
        kind: (num_rows, int(info[f"num_{kind}_tokens"]), int(info[f"{kind}_dim"]))
        for kind in ("audio", "visual")
    }
