"""Loading of complete networks of transformers from a hub name or a local folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from cign.errors import InputError, one_of
from cign.utils.connection import hub_trouble

LITE0, SFX = "lite0", "sfx"  # encoders of `cign.backbones.packaged`
ONNX_VISUAL, ONNX_AUDIO = "onnx-visual", "onnx-audio"  # of `cign.backbones.user_onnx`
PICTURES = ("vit", "dinov2", "dinov3_vit", "videomae", "resnet")
SOUNDS = ("audio-spectrogram-transformer", "clap", "clap_audio_model")
VISUAL, AUDIO = (*PICTURES, LITE0, ONNX_VISUAL), (*SOUNDS, SFX, ONNX_AUDIO)
BOTH = ("pe_audio_video",)
_CONFIG = "config.json"
_PREPROCESSING = (
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source of a network, and its configuration.

    Attributes:
        name: Hub name or folder.
        config: Content of ``config.json``.
        preprocessing: Input settings of ``preprocessor_config.json``; None without one.
        weights: False leaves the weights random, because they are loaded afterwards.
    """

    name: str
    config: dict[str, Any]
    preprocessing: dict[str, Any] | None
    weights: bool = True

    @property
    def kind(self) -> str:
        """Name of the architecture."""
        return str(self.config.get("model_type"))

    @property
    def record(self) -> dict[str, Any]:
        """The data that `recorded` needs."""
        return {"name": self.name, "config": self.config, "preprocessing": self.preprocessing}


def recorded(record: dict[str, Any]) -> Source:
    """A source whose network is built without its folder and without weights."""
    return Source(**record, weights=False)


def where_it_is(folder: Path) -> Path:
    """The folder of a backbone; if it does not exist, one of this name in the current folder."""
    moved = folder.is_absolute() and not folder.is_dir() and Path(folder.name).is_dir()
    return Path(folder.name) if moved else folder


def read_source(name: str, *, weights: bool = True) -> Source:
    """Read the configuration of the network with a hub name or in a folder.

    Args:
        name: A folder, or else a hub name. A folder that was moved is searched for in the current
            folder.
        weights: See `Source`.

    Raises:
        InputError: If it is a file, does not exist, or has an unknown architecture.
    """
    place = Path(name)
    if place.is_file():
        raise InputError(
            "wrong-format",
            f"backbone {name!r} is a file: give the folder with config.json and model.safetensors",
        )
    found_at = where_it_is(place)
    if found_at.is_absolute() and not found_at.is_dir():
        raise InputError(
            "missing-weights",
            f"backbone folder {name} does not exist: restore it, or run in a directory that has a "
            f"folder {place.name!r} with the same weights",
        )
    if found_at != place:
        name = str(found_at)
    config = _read(name, _CONFIG)
    if config is None:
        raise InputError(
            "wrong-format",
            f"backbone {name!r} has no {_CONFIG}: give a folder or hub name of a network in "
            "transformers' format",
        )
    found = [part for file in _PREPROCESSING if (part := _input_part(_read(name, file)))]
    source = Source(
        name=name, config=config, preprocessing=found[0] if found else None, weights=weights
    )
    if source.kind not in (*PICTURES, *SOUNDS, *BOTH, LITE0, SFX):
        raise one_of(source.kind, PICTURES + SOUNDS + BOTH, f"architecture of backbone {name!r}")
    return source


def _input_part(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """The settings of the visual or audio input, which newer folders nest."""
    if found is None:
        return None
    keys = ("image_processor", "video_processor", "feature_extractor")
    nested = [found[key] for key in keys if key in found]
    return nested[0] if nested else found


def _read(name: str, file: str) -> dict[str, Any] | None:
    """Read a JSON file from a folder or the hub; None if it does not exist."""
    if Path(name).is_dir():
        found = Path(name) / file
        path = str(found) if found.is_file() else None
    else:
        refuse_absent(name)
        from transformers.utils.hub import cached_file

        try:
            # Offline, a file that was never fetched is missing; only a missing config is an error.
            with _quiet():
                path = cached_file(
                    name,
                    file,
                    local_files_only=is_unreachable(name),
                    _raise_exceptions_for_missing_entries=file == _CONFIG,
                )
        except (OSError, ValueError) as error:
            raise _cannot_load(name, error) from None
    if path is None:
        return None
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "file-unreadable", f"{path} cannot be read ({error}): restore the folder"
        ) from None
    if not isinstance(content, dict):
        raise InputError("wrong-format", f"{path} is not a JSON object: restore the folder")
    return content


def load_network(source: Source, cls: Any, **how: Any) -> nn.Module:
    """Build a network and load all of its weights.

    Args:
        source: Source of the network.
        cls: Class in transformers.
        how: Arguments of its constructor.

    Raises:
        InputError: If weights cannot be read, are missing, or have different shapes.
    """
    from safetensors import SafetensorError

    try:
        if not source.weights:
            config = cls.config_class(**_part_of(source.config, cls.config_class))
            network: nn.Module = cls(config, **how)
            return network
        with _quiet():
            loaded: Any = cls.from_pretrained(
                source.name,
                output_loading_info=True,
                use_safetensors=True,
                local_files_only=is_unreachable(source.name),
                **how,
            )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise _cannot_load(source.name, error) from None
    network, found = loaded
    missing = sorted(found["missing_keys"])
    if missing:
        raise InputError(
            "missing-weights",
            f"backbone {source.name!r} lacks {len(missing)} weights, the first {missing[0]!r}: "
            "give a folder with all of them",
        )
    return network.float()


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress progress bars and tables of transformers; errors are reported in one sentence."""
    from huggingface_hub.utils import logging as huggingface_logging
    from transformers.utils import logging as transformers_logging

    hub_logging: Any = huggingface_logging
    logging: Any = transformers_logging
    level, has_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    hub_level = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        hub_logging.set_verbosity(hub_level)
        logging.set_verbosity(level)
        if has_bar:
            logging.enable_progress_bar()


def _part_of(config: dict[str, Any], config_class: Any) -> dict[str, Any]:
    """The settings of a network that is part of a larger one."""
    part = getattr(config_class, "base_config_key", "") or ""
    nested = config.get(part)
    if isinstance(nested, dict) and config.get("model_type") != config_class.model_type:
        return nested
    return config


def refuse_absent(name: str) -> None:
    """Reject a hub name that can be neither downloaded nor read from the cache.

    It runs before slow imports.

    Raises:
        InputError: If the hub does not answer and its cache does not have the network.
    """
    if is_unreachable(name):
        from huggingface_hub import try_to_load_from_cache

        try:
            found = try_to_load_from_cache(name, _CONFIG)
        except ValueError as error:  # not a valid hub name
            raise _cannot_load(name, error) from None
        if not isinstance(found, str):
            raise _cannot_load(name, FileNotFoundError(_CONFIG))


def is_unreachable(name: str) -> bool:
    """Whether a name is a hub name and the hub does not answer, so that only its cache is read.

    Without this check the client would retry for half a minute.
    """
    return not Path(name).is_dir() and bool(hub_trouble())


def _cannot_load(name: str, error: Exception) -> InputError:
    """The error for a network that cannot be loaded, with the remedy."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".: ")
    if Path(name).is_dir():
        remedy = "restore the folder, with its weights in model.safetensors"
    else:
        remedy = (
            "without a connection give a local folder with its config.json and "
            "model.safetensors, or use --backbone resnet18-random or small"
        )
        trouble = hub_trouble()
        reason = f"{trouble}, and it is not in the cache" if trouble else reason
    return InputError("missing-weights", f"backbone {name!r} cannot be loaded ({reason}): {remedy}")
