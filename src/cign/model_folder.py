"""The MODEL folder: weights, description with checksums, model card."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cign.checkpoint import load_module
from cign.data.media import MediaSpec
from cign.errors import InputError
from cign.files import read_json, replacing, write_json, write_text
from cign.methods import method_class
from cign.methods.base import Method, Setup
from cign.models.backbone import Backbone
from cign.models.backbones import load_backbone, load_blocks
from cign.models.encoder import TokenShape
from cign.options import configure

FORMAT = 1


@dataclasses.dataclass(kw_only=True)
class Model:
    """A method that has learned, and what it needs to read files.

    Attributes:
        method: The method, in evaluation mode.
        groups: Class names of each task, in the order in which they were taught.
        regime: ``frozen`` or ``end-to-end``.
        backbone: Name or folder of the backbone.
        fingerprint: Of the frozen backbone's weights; empty end to end.
        spec: Decoding that the backbone needs.
        unknown_threshold: Clips with a higher unknown score are called unknown; None: not set.
        results: Figures of the run it came from, for the model card.
        versions: Versions of what made it.
    """

    method: Method
    groups: tuple[tuple[str, ...], ...]
    regime: str
    backbone: str
    fingerprint: str
    spec: MediaSpec
    unknown_threshold: float | None = None
    results: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, in the order in which they were taught."""
        return tuple(name for group in self.groups for name in group)

    def load_backbone(self) -> Backbone:
        """The backbone that makes this model's tokens.

        Raises:
            InputError: If it cannot be loaded or has other weights than the model was made with.
        """
        backbone = load_backbone(self.backbone)
        backbone.spec = dataclasses.replace(backbone.spec, num_frames=self.spec.num_frames)
        if backbone.fingerprint != self.fingerprint:
            raise InputError(
                f"backbone {self.backbone} has other weights than the model was made with: "
                "use the version of cign or the folder it was made with"
            )
        return backbone


def save_model(model: Model, folder: Path) -> None:
    """Write a MODEL folder; each file is whole or not there, the description comes last."""
    weights = folder / "model.safetensors"
    state = {name: value.contiguous() for name, value in model.method.state_dict().items()}
    with replacing(weights) as temporary:
        save_file(state, temporary)
    setup = model.method.setup
    write_text(folder / "README.md", model_card(model))
    write_json(
        folder / "model.json",
        {
            "format": FORMAT,
            "method": model.method.name,
            "options": dataclasses.asdict(model.method.options),
            "classes": [
                {"name": name, "task": task + 1}
                for task, group in enumerate(model.groups)
                for name in group
            ],
            "regime": model.regime,
            "multi_label": setup.multi_label,
            "bf16": setup.bf16,
            "shape": dataclasses.asdict(setup.shape),
            "backbone": {"name": model.backbone, "fingerprint": model.fingerprint},
            "preprocessing": dataclasses.asdict(model.spec),
            "unknown_threshold": model.unknown_threshold,
            "results": model.results,
            "versions": model.versions,
            "checksums": {"model.safetensors": _checksum(weights)},
        },
    )


def load_model(folder: Path) -> Model:
    """Read a MODEL folder, or the ``model`` folder of a RUN.

    Raises:
        InputError: If it is missing, damaged, changed or of a newer version.
    """
    if (folder / "model" / "model.json").is_file():
        folder = folder / "model"
    about = read_json(folder / "model.json", "model")
    if about.get("format", 0) > FORMAT:
        raise InputError(
            f"model {folder} has format {about['format']}, this version reads up to {FORMAT}: "
            "update cign"
        )
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise InputError(f"model {folder} lacks model.safetensors: restore the folder")
    if _checksum(weights) != about["checksums"]["model.safetensors"]:
        raise InputError(
            f"model {folder} was changed or damaged: the checksum of model.safetensors does not "
            "match; restore the folder"
        )
    try:
        state = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{weights} cannot be read ({error}): restore the folder") from None
    groups: dict[int, list[str]] = {}
    for entry in about["classes"]:
        groups.setdefault(entry["task"], []).append(entry["name"])
    name = about["backbone"]["name"]
    end_to_end = about["regime"] == "end-to-end"
    cls = method_class(about["method"])
    method = cls(
        Setup(
            shape=TokenShape(**about["shape"]),
            backbone=load_backbone(name, weights=False) if end_to_end else None,
            blocks=load_blocks(name, cls.name) if cls.needs_blocks else None,
            multi_label=about["multi_label"],
            bf16=about["bf16"],
        ),
        configure(cls.Options, about["options"], f"model {folder}"),
    )
    for task in sorted(groups):
        method.grow(len(groups[task]))
    load_module(method, state, str(weights))
    return Model(
        method=method.eval().requires_grad_(False),
        groups=tuple(tuple(groups[task]) for task in sorted(groups)),
        regime=about["regime"],
        backbone=name,
        fingerprint=about["backbone"]["fingerprint"],
        spec=MediaSpec(**about["preprocessing"]),
        unknown_threshold=about["unknown_threshold"],
        results=about["results"],
        versions=about["versions"],
    )


def _checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_card(model: Model) -> str:
    """The model card: what the model is, what it knows, how it was tested, what it is not for."""
    lines = [
        "---",
        "library_name: cign",
        "tags: [audio-visual, class-incremental-learning]",
        "---",
        "",
        f"# An audio-visual classifier of {len(model.classes)} classes",
        "",
        f"Method `{model.method.name}`, backbone `{model.backbone}` ({model.regime}), "
        f"{len(model.groups)} tasks. Read a clip with `cign predict MODEL FILE`.",
        "",
        "## Classes",
        "",
    ]
    lines += [f"- task {i + 1}: {', '.join(group)}" for i, group in enumerate(model.groups)]
    if model.results:
        lines += ["", "## Results", "", "Percent of test clips, after the last task.", ""]
        lines += [
            "| reading | last | average incremental | forgetting |",
            "| --- | --- | --- | --- |",
        ]
        for reading, value in model.results.items():
            cells = (value.get(key) for key in ("last", "average", "forgetting"))
            shown = " | ".join("-" if cell is None else f"{cell:.1f}" for cell in cells)
            lines.append(f"| {reading.replace('_', '-')} | {shown} |")
    lines += [
        "",
        "## Limits",
        "",
        "The model knows the classes above and no others; probabilities are not calibrated unless "
        "the method says so. A clip of anything else gets one of these names or `unknown`.",
        "",
    ]
    return "\n".join(lines)


def to_cpu(method: Method) -> Method:
    """The method on the CPU, in evaluation mode."""
    return method.to(torch.device("cpu")).eval()
