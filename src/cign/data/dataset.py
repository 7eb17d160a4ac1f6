"""The prepared store as a PyTorch dataset."""

from __future__ import annotations

from torch.utils.data import Dataset

from cign.data import store
from cign.data.store import Item


class Store(store.Store, Dataset[Item]):
    """A prepared store: decoded clips of a source, as a map-style PyTorch dataset.

    ``Store.open(folder)`` opens a store; `cign.data.store.Store` describes its contents. Use it as

    ``DataLoader(Subset(store, store.indices("train")), batch_size=32, num_workers=2)``.

    An item is a dictionary; the default collate function turns its arrays into tensors:

    - ``audio``: int16 [L] at ``store.spec.rate_hz``, zeros without an audio track;
    - ``frames``: uint8 RGB [K, S, S, 3], zeros without a video track;
    - ``label``: index of the first label in ``store.class_names``, -1 for an unknown class;
    - ``targets``: float32 [C], 1 for each label;
    - ``has_audio``, ``has_visual``: whether the clip has the modality;
    - ``index``: index of the clip in the store; ``id``: its name in the source.

    This class adds only the base class. Modules that must start fast use `cign.data.store.Store`,
    which does not import torch.
    """
