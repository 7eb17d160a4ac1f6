"""Reading the clips of a store as a model needs them."""

from __future__ import annotations

from cign.data.batches import ArraySource
from cign.data.store import Store
from cign.errors import InputError
from cign.runs.build import bytes_per_clip, clip_source, media_source, other_media
from cign.runs.configuration import RunConfig
from cign.saved_model.model import Model


def model_source(model: Model, config: RunConfig, store: Store) -> ArraySource:
    """Read a store as a model needs it.

    Raises:
        InputError: If the store holds tokens of another backbone than the model's, or other media
            than its encoders were trained on.
    """
    if model.regime != "frozen":
        if store.spec != model.spec:
            raise other_media(model.backbone, model.spec, store)
        num_bytes = bytes_per_clip(model.regime, model.backbone, store)
        return media_source(store, num_bytes)
    found = store.tokens(model.backbone).fingerprint
    if found != model.fingerprint:
        raise InputError(
            f"store {store.folder} holds tokens of other weights of backbone "
            f"{model.backbone} than the model's: prepare it again with the model's backbone"
        )
    return clip_source(config, store)[0]
