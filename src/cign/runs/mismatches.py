"""Errors for stores whose tokens or media do not suit a model, a run or another store."""

from __future__ import annotations

from cign.data.media.decode import MediaSpec
from cign.data.tokens import FEATURES, is_features
from cign.errors import InputError


def other_tokens(what: str, backbone: str, than: str) -> InputError:
    """The error for tokens that do not suit a store or a model.

    Args:
        what: Where the tokens are.
        backbone: Name of the backbone of both.
        than: The store or model with other tokens of that name.
    """
    if backbone == FEATURES:
        return InputError(
            "weights-mismatch",
            f"{what} has other features than {than}, and their encoders are not named: if the same "
            "encoders computed both, prepare both with the same --backbone NAME",
        )
    if is_features(backbone):
        return InputError(
            "weights-mismatch",
            f"{what} has features of another shape than {than}: give features of the same encoders",
        )
    return InputError(
        "weights-mismatch",
        f"{what} has tokens from other weights of backbone {backbone} than {than}: prepare both "
        "with the same backbone",
    )


def other_media(backbone: str, spec: MediaSpec, what: str, found: MediaSpec) -> InputError:
    """The error for a store whose media a backbone cannot use.

    Args:
        backbone: Name of the backbone.
        spec: What it needs.
        what: The store.
        found: What the store holds.
    """
    return InputError(
        "store-mismatch",
        f"backbone {backbone} needs {spec}, {what} holds {found}: prepare a store with --backbone "
        f"{backbone}",
    )
