"""Which clips to label next: of those a model is least certain of, the most informative together.

The combination is ours. The first step is margin sampling (Scheffer et al., *Active Hidden Markov
Models for Information Extraction*, IDA 2001; Settles, *Active Learning Literature Survey*, 2009,
section 3.1). It alone proposes many clips that are alike. The second step, sequential D-optimal
design (`cign.labelling.design`), proposes clips that differ from those learned and from each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from cign.backbones.base import Backbone
from cign.data.clips import Clip
from cign.data.formats import existing
from cign.data.formats.detect import detect_format
from cign.data.formats.unlabelled import read_unlabelled
from cign.errors import InputError
from cign.inference.engines import Engine, Here, engine_of
from cign.inference.inputs import NoFile, media_below
from cign.inference.sources import ClipsToLabel
from cign.labelling.design import choose, whitened
from cign.labelling.known import KnownClips
from cign.labelling.pool import Scored, least_certain, scored_files
from cign.labelling.pool_parts import Passes, scores_tokens
from cign.labelling.proposals import Proposal, Proposals
from cign.methods import METHODS
from cign.methods.capabilities import SumsOverClips, stores_sums, sums_over_clips
from cign.saved_model.model import Model
from cign.updating.new_clips import Source, num_clips
from cign.updating.several_stores import path_or_stores
from cign.utils.cluster import check_engine
from cign.utils.file_text import escape_name
from cign.utils.progress import Progress, Silent
from cign.vocabulary import UNIMODAL

CANDIDATES = 2
"""Candidates for each clip that is wanted, chosen on synthetic dataset 1 on average over two
backbones; 4 and 8 are as good within the intervals (benchmarks/results/labels.md)."""
FIRST_PASS, FIRST_SHARE = 10_000, 0.2
"""Clips whose tokens are scored, at least, and their share of all: a smaller share loses proposals
(benchmarks/results/next.md)."""


def propose(
    model: Model,
    clips: Source | Sequence[Source],
    backbone: Callable[[], Backbone | None],
    *,
    number: int,
    first_pass: int | None = None,
    format: str | None = None,
    media: Sequence[Path] = (),
    engine: str = "local",
    num_workers: int | None = None,
    progress: Progress | None = None,
) -> Proposals:
    """Propose unlabelled clips whose labels would help a model the most.

    Args:
        model: A model of a method that stores sums over clips.
        clips: A folder of media files in any layout, a table or other list, or a prepared store, or
            several of them, which are taken for one; labels are ignored. Of a list and a store only
            the clips of split train are used. Clips that the model learned and its validation clips
            are left out.
        backbone: Returns the model's backbone, None if the model contains its encoders; called
            only if clips must be decoded.
        number: How many clips, at least 1.
        first_pass: Number of clips of a store whose single tokens are scored; of more, those are
            taken whose means of tokens have the smallest margins. 0 scores the tokens of all; None
            takes a fifth of them, at least 10,000.
        format: See `cign.data.formats.read_source`.
        media: See `cign.data.formats.read_source`.
        engine: ``local``, or ``ray`` for stores whose clips are scored on a cluster.
        num_workers: Maximum number of concurrent calls on the cluster.
        progress: Receives the progress of clips.

    Returns:
        The proposals, fewer than ``number`` if there are fewer clips that the model does not know.

    Raises:
        InputError: If the method stores no sums, a number is too small, the source is invalid or
            does not suit the model, or there is no clip that it does not know and that can be
            decoded.
    """
    sums = checked_sums(model)
    for name, value, least in (("number", number, 1), ("first_pass", first_pass, 0)):
        if value is not None and value < least:
            raise InputError("bad-value", f"{name} is {value}: give {least} or more")
    progress = progress or Silent()
    if num_workers is not None and engine == "local":
        raise InputError(
            "conflicting-options", "--workers is the number of calls of --engine ray: leave it out"
        )
    check_engine(engine, num_workers)
    given = path_or_stores(clips, engine, format=format, media=media)
    if isinstance(given, Path):
        items = listed_clips(given, format, media)
        return _of_files(model, sums, items, given, backbone, number, progress)
    with engine_of(engine, model, num_workers) as on:
        found = ClipsToLabel.open(model, *given, check=not on.is_remote)
        how: dict[str, Any] = {"number": number, "first_pass": first_pass, "engine": on}
        return propose_of_store(model, found, progress=progress, **how)


def checked_sums(model: Model) -> SumsOverClips:
    """The sums of a model.

    Raises:
        InputError: If its method stores none.
    """
    sums = sums_over_clips(model.method)
    if sums is None:
        names = [name for name, method in METHODS.items() if stores_sums(method)]
        raise InputError(
            "unsupported",
            f"a model of method {model.method.name} stores no sums over clips, which tell what it "
            f"has not learned yet: use a model of {' or '.join(names)}",
        )
    return sums


def propose_of_store(
    model: Model,
    found: ClipsToLabel,
    *,
    number: int,
    first_pass: int | None,
    progress: Progress,
    engine: Engine | None = None,
) -> Proposals:
    """Propose clips of stores, see `propose`; all of them, or only those that ``found`` names."""
    sums, indices, notes = checked_sums(model), found.indices, list[str]()
    known = KnownClips.of(model)
    passes = Passes(engine=engine or Here(model), found=found, known=known, progress=progress)
    if len(found.clips) > len(indices):
        notes.append(_other_splits(len(found.clips) - len(indices)))
    _refuse_none(len(indices), found.where)
    num_given = len(indices)
    indices = scored = indices[~known.learned(found.hashes)]
    if len(indices) == 0:
        raise _knows_all(num_given, found.where)
    if first_pass is None:
        first_pass = max(FIRST_PASS, round(FIRST_SHARE * len(indices)))
    if 0 < first_pass < len(indices) and scores_tokens(model):
        most = max(first_pass, CANDIDATES * number)
        scored = passes.least_certain_by_means(indices, most)
        notes.append(
            f"first pass: of {len(indices):,} clips, the tokens of the {len(scored):,} whose mean "
            "tokens are least certain were scored"
        )
    results = passes.least_certain(scored, CANDIDATES * number)
    progress.stop()
    num_others = num_given - known.num_found.total()
    if results is None:
        raise _knows_all(num_given, found.where)
    return Proposals(
        proposals=_proposals(model, sums, results, found.clips, number),
        num_clips=num_others,
        num_known=known.num_found.total(),
        num_scored=min(len(scored), num_others),
        num_candidates=len(results),
        notes=(*notes, *known.notes()),
    )


def _of_files(
    model: Model,
    sums: SumsOverClips,
    items: Sequence[Clip | NoFile],
    source: Path,
    backbone: Callable[[], Backbone | None],
    number: int,
    progress: Progress,
) -> Proposals:
    used = [one for one in items if isinstance(one, NoFile) or one.split == "train"]
    notes = [_other_splits(len(items) - len(used))] if len(items) > len(used) else []
    _refuse_none(len(used), f"source {source}")
    unreadable, known = list[tuple[str, str]](), KnownClips.of(model)
    progress.start("scoring", len(used))
    batches = scored_files(model, backbone(), used, known, unreadable, progress)
    results = least_certain(batches, CANDIDATES * number)
    progress.stop()
    num_readable = len(used) - len(unreadable)
    if results is None and num_readable:
        raise _knows_all(num_readable, f"source {source}")
    if results is None:
        name, why = unreadable[0]
        raise InputError(
            "no-clips",
            f"none of {num_clips(len(used))} of {source} can be decoded ({name}: {why}): give "
            "audio or video files",
        )
    return Proposals(
        proposals=_proposals(model, sums, results, used, number),
        num_clips=num_readable - known.num_found.total(),
        num_known=known.num_found.total(),
        num_scored=num_readable - known.num_found.total(),
        num_candidates=len(results),
        unreadable=tuple(unreadable),
        notes=(*notes, *known.notes()),
    )


def listed_clips(
    source: Path, format: str | None = None, media: Sequence[Path] = ()
) -> list[Clip | NoFile]:
    """The clips of a list, or all media files of a folder without one."""
    source = existing(source)
    if format is not None or not source.is_dir() or detect_format(source) != "folders":
        return [*read_unlabelled(source, format=format, media=media)]
    if media:
        raise InputError(
            "conflicting-options", f"--media is for lists: {source} contains its own media files"
        )
    return [_clip_in(source, one) for one in media_below(source)]


def _clip_in(folder: Path, found: object) -> Clip | NoFile:
    if isinstance(found, NoFile):
        return found
    path = Path(str(found))
    name = escape_name(path.relative_to(folder).as_posix())
    return Clip(id=name, path=path, labels=(), split="train", source=name)


def _refuse_none(number: int, where: str) -> None:
    if number == 0:
        raise InputError(
            "no-clips",
            f"{where} has no clip to label: give a folder with media files, or a list with clips "
            "of split train",
        )


def _knows_all(number: int, where: str) -> InputError:
    return InputError(
        "no-clips",
        f"the model has learned all {num_clips(number)} of {where}, or stores them for "
        "validation: give clips that it does not know",
    )


def _other_splits(number: int) -> str:
    return f"left out, of splits val, test and unknown: {num_clips(number)}"


def _proposals(
    model: Model,
    sums: SumsOverClips,
    results: Scored,
    clips: Sequence[Clip | NoFile],
    number: int,
) -> tuple[Proposal, ...]:
    """Choose among the candidates."""
    features = {"audio": results.audio, "visual": results.visual}
    vectors = [
        whitened(
            torch.from_numpy(features[name]).double(), sums.gram(name).cpu(), sums.ridge_of(name)
        )
        for name in UNIMODAL
    ]
    return tuple(
        _proposal(model, results, row, gain, clips)
        for row, gain in choose(vectors, min(number, len(results)))
    )


def _proposal(
    model: Model, results: Scored, row: int, gain: float, clips: Sequence[Clip | NoFile]
) -> Proposal:
    clip = clips[results.numbers[row]]
    assert isinstance(clip, Clip)
    has = {"audio": results.has_audio[row], "visual": results.has_visual[row]}
    return Proposal(
        clip=clip,
        guesses=tuple(
            (model.classes[c], round(float(p), 6))
            for c, p in zip(results.best[row], results.probabilities[row], strict=True)
        ),
        margin=round(float(results.margins[row]), 6),
        unknown=round(float(results.unknown[row]), 6),
        gain=round(gain, 6),
        missing=tuple(name for name in UNIMODAL if not has[name]),
    )
