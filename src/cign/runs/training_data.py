"""All that a run reads from its stores, opened once; no other module of this package sees one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from cign.backbones.base import Backbone
from cign.backbones.blocks import STEM, FrozenBlocks
from cign.backbones.fitting import fit
from cign.backbones.registry import load_backbone, load_blocks
from cign.data.batches import AHEAD, ArraySource
from cign.data.intact import check_media, check_tokens
from cign.data.media.decode import MediaSpec
from cign.data.store import Store
from cign.data.tasks import IntArray, TaskClips, TaskSequence
from cign.errors import InputError
from cign.methods import method_class
from cign.metrics.predictions import Predictions
from cign.networks.encoder import TokenShape
from cign.runs.configuration import RunConfig
from cign.runs.mismatches import other_media, other_tokens
from cign.runs.unusual_clips import check_weights, without_background

Labels = Sequence[tuple[str, ...]]
FILE_CACHE_BYTES = 2**30
"""Tokens that need less are read fast: the system holds their files in memory."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where clips come from.

    Attributes:
        path: Folder of the store.
        list_hash: Hash of the complete list that the store was made from.
    """

    path: str
    list_hash: str

    @classmethod
    def of(cls, store: Store) -> Self:
        """The origin of a store's clips."""
        return cls(path=str(store.folder), list_hash=store.list_hash)


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The data of a run.

    Attributes:
        clips: Targets and tasks of all clips of the store.
        labels: Class names of each of these clips.
        train: Indices of the usable training clips that the stream contains, shape [n].
        validation: Indices of the validation clips.
        test: Indices of the clips that are scored, in the test store if there is one.
        num_left_out: Number of training clips that lack a modality and are not used.
        num_background_left_out: Number of background clips that the method cannot learn.
        source: Reads the clips of the store.
        test_source: Reads those of the test store; None without one.
        shape: Shape of the tokens.
        spec: Frames and audio that were taken from each clip; None if only features are given.
        fingerprint: Fingerprint of the weights that computed the tokens; empty if encoders are
            trained.
        backbone: The encoders to train; None on cached tokens.
        blocks: Frozen transformers, for methods that need them.
        predictions: Empty predictions for the test clips.
        limit: The best possible accuracy in percent, for synthetic data whose limit is known.
        origin: Where the clips come from.
        test_origin: Where the test clips come from, if from another store.
    """

    clips: TaskClips
    labels: Labels
    train: IntArray
    validation: IntArray
    test: IntArray
    num_left_out: int
    num_background_left_out: int
    source: ArraySource
    test_source: ArraySource | None
    shape: TokenShape
    spec: MediaSpec | None
    fingerprint: str
    backbone: Backbone | None
    blocks: FrozenBlocks | None
    predictions: Predictions
    limit: float | None
    origin: Origin
    test_origin: Origin | None

    @classmethod
    def open(cls, config: RunConfig, store: Store, test_store: Store | None = None) -> Self:
        """Open the data of a run.

        Args:
            config: Configuration of the run, with its tasks and its backbone.
            store: Store of the training clips and, without ``test_store``, of the test clips.
            test_store: Another store with the same classes, whose test clips are scored instead.

        Raises:
            InputError: If stores and configuration do not match, or a store was changed.
        """
        names = {name for group in config.tasks for name in group}
        if names != set(store.class_names):
            raise InputError(
                "store-mismatch",
                f"the tasks name {len(names)} classes, but store {store.folder} holds "
                f"{len(store.class_names)} different ones: use the store the run was trained on",
            )
        labels = [clip.labels for clip in store.table.clips]
        clips = TaskClips.of_clips(
            store.table.clips, TaskSequence(config.tasks), store.content_hashes
        )
        usable = training_clips(store, allow_missing=config.data.allow_missing)
        num_usable, method = len(usable), method_class(config.method)
        check_weights(method, store.table.clips, f"store {store.folder}")
        if not method.supports_background:
            usable = without_background(clips, usable)
        _check_training_clips(config, labels, clips, usable)
        clips = config.arrival.drawn(clips, usable, config.training.seed)
        train = usable[clips.arrival[usable] >= 0]
        source, shape, backbone = clip_source(config, store)
        tested = store if test_store is None else test_store
        test = np.concatenate([tested.indices("test"), tested.indices("unknown")])
        test = test[[not tested.table.clips[i].is_background for i in test]]
        is_frozen = config.data.regime == "frozen"
        fingerprint = store.tokens(config.data.backbone).fingerprint if is_frozen else ""
        return cls(
            clips=clips,
            labels=labels,
            train=train,
            validation=without_background(clips, store.indices("val")),
            test=test,
            num_left_out=len(store.indices("train")) - num_usable,
            num_background_left_out=num_usable - len(usable),
            source=source,
            test_source=None if test_store is None else _test_source(config, store, test_store),
            shape=shape,
            spec=store.spec,
            fingerprint=fingerprint,
            backbone=backbone,
            blocks=_blocks(config, store.spec, fingerprint),
            predictions=_empty_predictions(tested, test, clips.tasks),
            limit=_limit_percent(tested),
            origin=Origin.of(store),
            test_origin=None if test_store is None else Origin.of(test_store),
        )


def _blocks(config: RunConfig, spec: MediaSpec | None, fingerprint: str) -> FrozenBlocks | None:
    """The frozen transformers that the method needs, if any."""
    if not method_class(config.method).needs_blocks:
        return None
    return load_blocks(config.data.backbone, config.method, spec=spec, fingerprint=fingerprint)


def _check_training_clips(
    config: RunConfig, labels: Labels, clips: TaskClips, train: IntArray
) -> None:
    """Refuse tasks and classes without training clips.

    Raises:
        InputError: With the first of them.
    """
    allow_missing = config.data.allow_missing
    kind = "training clip" if allow_missing else "training clip with audio and video"
    remedy = "add clips" if allow_missing else "use --allow-missing or add clips"
    trained = {name for i in train for name in labels[i]}
    for task, group in enumerate(config.tasks):
        if len(clips.of_task(train, task)) == 0:
            raise InputError(
                "no-clips", f"task {task + 1} ({', '.join(group[:3])}) has no {kind}: {remedy}"
            )
        lost = [name for name in group if name not in trained]
        if lost:
            raise InputError(
                "no-clips", f"class {lost[0]!r} of task {task + 1} has no {kind}: {remedy}"
            )


def training_clips(store: Store, *, allow_missing: bool = False) -> IntArray:
    """The usable training clips: with audio and video, unless a modality may be missing."""
    train = store.indices("train")
    return train if allow_missing else train[store.audio_ok[train] & store.visual_ok[train]]


def bytes_per_clip(regime: str, backbone: str, store: Store) -> int:
    """Bytes to store one clip: its cached tokens, or its frames and audio samples."""
    if regime == "frozen":
        info = store.tokens(backbone).info
        kinds = ("audio", "visual")
        return 2 * sum(int(info[f"num_{kind}_tokens"]) * int(info[f"{kind}_dim"]) for kind in kinds)
    spec = store.media_spec
    return 3 * spec.num_frames * spec.frame_px**2 + 2 * spec.num_samples


def token_source(
    store: Store, backbone: str, *, check: bool = True
) -> tuple[ArraySource, TokenShape]:
    """Cached tokens of a store, and their shape.

    Args:
        store: The store.
        backbone: Backbone of the tokens.
        check: Whether to read all of them, to compare them with their checksums.

    Raises:
        InputError: If there are none, or they were changed.
    """
    cache = store.tokens(backbone)
    if check:
        check_tokens(store, backbone)
    info = cache.info
    shape = TokenShape(
        audio_dim=info["audio_dim"],
        visual_dim=info["visual_dim"],
        num_audio_tokens=info["num_audio_tokens"],
        num_visual_tokens=info["num_visual_tokens"],
        audio_grid=info.get("audio_grid"),
        visual_grid=info.get("visual_grid"),
    )
    num_bytes = bytes_per_clip("frozen", backbone, store)
    return ArraySource(
        cache.audio,
        cache.visual,
        num_bytes,
        store.audio_ok,
        store.visual_ok,
        # The system's file cache holds a small store, and a thread would take longer than reading.
        ahead=0 if num_bytes * len(store.rows) < FILE_CACHE_BYTES else AHEAD,
        release=cache.release,
    ), shape


def clip_source(config: RunConfig, store: Store) -> tuple[ArraySource, TokenShape, Backbone | None]:
    """Cached tokens, or media together with the backbone that encodes them."""
    if config.data.regime == "frozen":
        return *token_source(store, config.data.backbone), None
    spec = store.media_spec
    backbone = load_backbone(config.data.backbone)
    fit(backbone, spec)
    if backbone.spec != spec:
        raise other_media(config.data.backbone, backbone.spec, f"store {store.folder}", spec)
    check_media(store)
    num_bytes = bytes_per_clip(config.data.regime, config.data.backbone, store)
    return media_source(store, num_bytes), token_shape(backbone), backbone


def media_source(store: Store, num_bytes: int) -> ArraySource:
    """Frames and audio of a store, for training encoders."""
    return ArraySource(store.audio, store.frames, num_bytes, store.audio_ok, store.visual_ok)


def _test_source(config: RunConfig, store: Store, test_store: Store) -> ArraySource:
    """Read the clips of a test store like those of the training store.

    Raises:
        InputError: If its classes, its media or the weights behind its tokens differ.
    """
    if set(test_store.class_names) != set(store.class_names):
        odd = sorted(set(test_store.class_names) ^ set(store.class_names))
        raise InputError(
            "store-mismatch",
            f"test store {test_store.folder} has other classes than {store.folder}, for example "
            f"{odd[0]!r}: use stores with the same classes",
        )
    if config.data.regime == "frozen":
        name = config.data.backbone
        if test_store.tokens(name).fingerprint != store.tokens(name).fingerprint:
            raise other_tokens(f"test store {test_store.folder}", name, f"store {store.folder}")
    return clip_source(config, test_store)[0]


def token_shape(backbone: Backbone) -> TokenShape:
    """Shape of a backbone's tokens."""
    return TokenShape(
        audio_dim=backbone.audio_dim,
        visual_dim=backbone.visual_dim,
        num_audio_tokens=backbone.num_audio_tokens,
        num_visual_tokens=backbone.num_visual_tokens,
        audio_grid=backbone.audio_grid,
        visual_grid=backbone.visual_grid,
    )


def _empty_predictions(store: Store, test: IntArray, tasks: TaskSequence) -> Predictions:
    """Empty predictions for the test clips of a run."""
    clips = [store.table.clips[i] for i in test]
    return Predictions(
        clip_ids=[clip.id for clip in clips],
        labels=[clip.likely_labels for clip in clips],
        class_names=tasks.class_order,
        task_sizes=tasks.sizes,
    )


def _limit_percent(store: Store) -> float | None:
    """The best possible accuracy of synthetic data in percent, if it is known."""
    limit = (store.info.get("synth") or {}).get("limit")
    return None if limit is None else round(100.0 * float(limit), 3)


def fitting_backbone(store: Store, method: str) -> str:
    """Name of the only backbone whose tokens the method can use: final tokens, or those of a stem.

    Raises:
        InputError: If there is none, or more than one.
    """
    needs_stem = method_class(method).needs_blocks
    fitting = [name for name in store.backbones if name.endswith(STEM) == needs_stem]
    return fitting[0] if len(fitting) == 1 else str(store.tokens(None).info["backbone"])
