"""Backbones by name or folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cign.data.media import MediaSpec
from cign.errors import InputError
from cign.models.backbone import Backbone
from cign.models.blocks import STEM, FrozenBlocks, StemBackbone
from cign.models.resnet import resnet_pair
from cign.models.small import RECORD_FILE, SmallPair

HUB_RESNET = "microsoft/resnet-18"
BACKBONES = ("small", "small-random", "small-stem", "resnet18", "resnet18-random")


def load_backbone(name: str, *, weights: bool = True) -> Backbone:
    """Load a backbone by name or from a local folder.

    Args:
        name: ``small`` (shipped; trained on procedural clips), ``small-random``, ``resnet18``
            (visual weights from the hub), ``resnet18-random``, a folder that
            ``python -m cign.models.pretrain`` made, or one with a ResNet in transformers' format.
            With ``-stem`` behind the name of one that has transformer
            blocks: the tokens that enter them, for prompt methods.
        weights: False builds the network alone, for weights that are loaded afterwards.

    Raises:
        InputError: If there is no such backbone.
    """
    if name in ("small", "small-random"):
        backbone: Backbone = SmallPair(name, weights=weights)
    elif name.endswith(STEM) and not Path(name).is_dir():
        backbone = StemBackbone(load_backbone(name.removesuffix(STEM), weights=weights))
    elif name == "resnet18":
        backbone = resnet_pair(HUB_RESNET if weights else None)
        backbone.name = name
    elif name == "resnet18-random":
        backbone = resnet_pair(None)
    elif (Path(name) / RECORD_FILE).is_file():
        backbone = SmallPair(Path(name).resolve().name, Path(name), weights=weights)
    elif (Path(name) / "config.json").is_file():
        backbone = resnet_pair(Path(name))
        backbone.name = Path(name).resolve().name
    else:
        raise InputError(
            f"unknown backbone {name!r}: use one of {', '.join(BACKBONES)}, "
            "or a local folder with config.json and weights"
        )
    return backbone.eval()


def load_blocks(
    name: str, method: str, *, spec: MediaSpec | None = None, fingerprint: str | None = None
) -> FrozenBlocks:
    """The blocks that a backbone's cached stem tokens enter.

    Args:
        name: Of the backbone.
        method: Who needs them, for the error message.
        spec: What the store holds, for the check.
        fingerprint: Of the cached tokens' backbone; None builds blocks whose weights are loaded
            afterwards.

    Raises:
        InputError: If the tokens are finished ones, or of other weights.
    """
    if not name.endswith(STEM):
        raise InputError(
            f"method {method} needs the tokens that enter a transformer, and backbone {name!r} "
            "gives finished ones: prepare and train with --backbone small-stem"
        )
    backbone = load_backbone(name, weights=fingerprint is not None)
    if spec is not None:
        backbone.spec = replace(backbone.spec, num_frames=spec.num_frames)
    if fingerprint is not None and backbone.fingerprint != fingerprint:
        raise InputError(
            f"backbone {name!r} has other weights than the store's tokens were made with: use "
            "the version of cign they were made with, or prepare a new store"
        )
    blocks = backbone.token_blocks()
    assert blocks is not None
    return blocks.frozen()
