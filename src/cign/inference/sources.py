"""Read the clips of a store as inputs of a model."""

from __future__ import annotations

from cign.data.batches import ArraySource
from cign.data.store import Store
from cign.errors import InputError
from cign.runs.build import bytes_per_clip, clip_source, media_source, other_media
from cign.runs.configuration import RunConfig
from cign.saved_model.model import Model


def model_source(model: Model, config: RunConfig, store: Store) -> ArraySource:
    """Clip source of a store for a model.

    Raises:
        InputError: If the store's tokens are from another backbone than the model's, or its media
            settings differ from those of the model's encoders.
    """
    if model.regime != "frozen":
        if store.spec != model.spec:
            raise other_media(model.backbone, model.spec, store)
        num_bytes = bytes_per_clip(model.regime, model.backbone, store)
        return media_source(store, num_bytes)
    found = store.tokens(model.backbone).fingerprint
    if found != model.fingerprint:
        raise InputError(
            f"store {store.folder} has tokens from other weights of backbone "
            f"{model.backbone} than the model: prepare it again with the model's backbone"
        )
    return clip_source(config, store)[0]
