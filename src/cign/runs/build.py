"""Build a run from a store and its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cign.backbones.base import Backbone
from cign.backbones.blocks import STEM, FrozenBlocks
from cign.backbones.fitting import fit
from cign.backbones.registry import load_backbone, load_blocks
from cign.data.batches import ArraySource
from cign.data.exemplar_memory import ExemplarMemory, MemoryBudget
from cign.data.intact import check_media, check_tokens
from cign.data.media.decode import MediaSpec
from cign.data.store import Store
from cign.data.tasks import IntArray, TaskClips, TaskSequence
from cign.errors import InputError
from cign.methods import method_class
from cign.methods.base import Method, Setup
from cign.metrics.predictions import Predictions
from cign.networks.encoder import TokenShape
from cign.runs.configuration import RunConfig
from cign.training.distributed.processes import current
from cign.training.loop import Loop
from cign.utils.files import read_json
from cign.utils.options import configure
from cign.utils.progress import Progress, Silent


def build_method(
    config: RunConfig,
    shape: TokenShape,
    backbone: Backbone | None,
    *,
    multi_label: bool,
    blocks: FrozenBlocks | None = None,
) -> Method:
    """A method without classes, initialised from the run's seed."""
    cls = method_class(config.method)
    options: Any = configure(cls.Options, config.options, f"recipe of {config.method}")
    torch.manual_seed(config.training.seed)
    setup = Setup(
        shape=shape,
        backbone=backbone if config.data.regime == "end-to-end" else None,
        blocks=blocks,
        multi_label=multi_label,
        bf16=config.compute.bf16,
    )
    return cls(setup, options)


def build_loop(
    config: RunConfig,
    store: Store,
    progress: Progress | None = None,
    test_store: Store | None = None,
) -> Loop:
    """Build the training loop of a run.

    Args:
        config: Configuration of the run.
        store: Store of the training clips and, without ``test_store``, of the test clips.
        progress: Receives the progress of steps.
        test_store: Another store with the same classes, whose test clips are scored instead.

    Raises:
        InputError: If stores and configuration do not match.
    """
    names = {name for group in config.tasks for name in group}
    if names != set(store.class_names):
        raise InputError(
            f"the tasks name {len(names)} classes, but store {store.folder} holds "
            f"{len(store.class_names)} different ones: use the store the run was trained on"
        )
    clips = TaskClips.of([clip.labels for clip in store.table.clips], TaskSequence(config.tasks))
    train = training_clips(store, allow_missing=config.data.allow_missing)
    _check_training_clips(config, store, clips, train)
    if num_left_out := len(store.indices("train")) - len(train):
        (progress or Silent()).note(
            f"{num_left_out} training clip{'s' if num_left_out > 1 else ''} without audio or "
            "video left out: --allow-missing includes them"
        )
    if config.effective_memory != config.exemplars.memory and config.exemplars.memory != "0":
        (progress or Silent()).note(
            f"{config.method} uses no exemplars: --memory {config.exemplars.memory} is treated as 0"
        )
    source, shape, backbone = clip_source(config, store)
    tested = store if test_store is None else test_store
    test = np.concatenate([tested.indices("test"), tested.indices("unknown")])
    test_source = None if test_store is None else _test_source(config, store, test_store)
    budget = MemoryBudget.parse(config.effective_memory)
    if budget.amount == 0 and method_class(config.method).needs_memory:
        raise InputError(f"method {config.method} needs exemplars: give --memory, for example 120")
    budget.quotas(len(names), source.bytes_per_clip)  # refuses a budget too small for the last task
    blocks = None
    if method_class(config.method).needs_blocks:
        fingerprint = store.tokens(config.data.backbone).fingerprint
        blocks = load_blocks(
            config.data.backbone, config.method, spec=store.spec, fingerprint=fingerprint
        )
    method = build_method(config, shape, backbone, multi_label=clips.is_multi_label, blocks=blocks)
    return Loop(
        method=method,
        clips=clips,
        source=source,
        train=train,
        test=test,
        test_source=test_source,
        memory=ExemplarMemory(
            budget,
            selection=config.exemplars.selection,  # type: ignore[arg-type]
            seed=config.training.seed,
        ),
        predictions=empty_predictions(tested, test, clips.tasks),
        seed=config.training.seed,
        device=config.compute.device,
        progress=progress or Silent(),
        comm=current(),
    )


def _check_training_clips(
    config: RunConfig, store: Store, clips: TaskClips, train: IntArray
) -> None:
    """Refuse tasks and classes without training clips.

    Raises:
        InputError: With the first of them.
    """
    kind = "training clip" if config.data.allow_missing else "training clip with audio and video"
    remedy = "add clips" if config.data.allow_missing else "use --allow-missing or add clips"
    trained = {name for i in train for name in store.table.clips[i].labels}
    for task, group in enumerate(config.tasks):
        if len(clips.of_task(train, task)) == 0:
            raise InputError(f"task {task + 1} ({', '.join(group[:3])}) has no {kind}: {remedy}")
        lost = [name for name in group if name not in trained]
        if lost:
            raise InputError(f"class {lost[0]!r} of task {task + 1} has no {kind}: {remedy}")


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
    spec = store.spec
    return 3 * spec.num_frames * spec.frame_px**2 + 2 * spec.num_samples


def clip_source(config: RunConfig, store: Store) -> tuple[ArraySource, TokenShape, Backbone | None]:
    """Cached tokens, or media together with the backbone that encodes them."""
    if config.data.regime == "frozen":
        cache = store.tokens(config.data.backbone)
        check_tokens(store, config.data.backbone)
        info = cache.info
        shape = TokenShape(
            audio_dim=info["audio_dim"],
            visual_dim=info["visual_dim"],
            num_audio_tokens=info["num_audio_tokens"],
            num_visual_tokens=info["num_visual_tokens"],
            audio_grid=info.get("audio_grid"),
            visual_grid=info.get("visual_grid"),
        )
        num_bytes = bytes_per_clip(config.data.regime, config.data.backbone, store)
        available = store.audio_ok, store.visual_ok
        return ArraySource(cache.audio, cache.visual, num_bytes, *available), shape, None
    backbone = load_backbone(config.data.backbone)
    fit(backbone, store.spec)
    if backbone.spec != store.spec:
        raise other_media(config.data.backbone, backbone.spec, store)
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
            f"test store {test_store.folder} has other classes than {store.folder}, for example "
            f"{odd[0]!r}: use stores with the same classes"
        )
    if config.data.regime == "frozen":
        name = config.data.backbone
        if test_store.tokens(name).fingerprint != store.tokens(name).fingerprint:
            raise InputError(
                f"test store {test_store.folder} has tokens from other weights of backbone {name} "
                f"than {store.folder}: prepare both with the same backbone"
            )
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


def empty_predictions(store: Store, test: IntArray, tasks: TaskSequence) -> Predictions:
    """Empty predictions for the test clips of a run."""
    clips = [store.table.clips[i] for i in test]
    return Predictions(
        clip_ids=[clip.id for clip in clips],
        labels=[clip.labels for clip in clips],
        class_names=tasks.class_order,
        task_sizes=tasks.sizes,
    )


def fitting_backbone(store: Store, method: str) -> str:
    """Name of the only backbone whose tokens the method can use: final tokens, or those of a stem.

    Raises:
        InputError: If there is none, or more than one.
    """
    needs_stem = method_class(method).needs_blocks
    fitting = [name for name in store.backbones if name.endswith(STEM) == needs_stem]
    return fitting[0] if len(fitting) == 1 else str(store.tokens(None).info["backbone"])


def other_media(backbone: str, spec: MediaSpec, store: Store) -> InputError:
    """The error for a store whose media a backbone cannot use."""
    return InputError(
        f"backbone {backbone} needs {spec}, store {store.folder} holds {store.spec}: "
        f"prepare a store with --backbone {backbone}"
    )


def resume_loop(loop: Loop, folder: Path, store: Store, tested: Store | None) -> None:
    """Restore the last checkpoint of a run, or its start if it was interrupted before a save.

    Raises:
        InputError: If the run was started on other stores.
    """
    checkpoint = loop.checkpoint
    if not (folder / "metrics.json").exists() and (checkpoint is None or not checkpoint.exists()):
        loop.predictions.scores.clear()
        return  # killed before it recorded its store or learned anything
    made_on = read_json(folder / "metrics.json", "metrics")["store"]
    for key, one in (("list_hash", store), ("test_list_hash", tested)):
        was, found = made_on.get(key, "none"), "none" if one is None else one.list_hash
        if was != found:
            what = "store" if one is store else "test store"
            place = "none was given" if one is None else f"{one.folder} has {found[:12]}"
            raise InputError(
                f"run {folder} was started on a {what} with list hash {was[:12]}, but {place}: "
                f"use the {what} it was started on"
            )
    if loop.predictions_path is not None and loop.predictions_path.exists():
        loop.predictions = Predictions.load(loop.predictions_path)
    if loop.checkpoint is not None and loop.checkpoint.exists():
        loop.resume()
    else:
        loop.predictions.scores.clear()
