"""`cign inspect SOURCE`: summarise a dataset, even if only its lists are present."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cign.cli.arguments import (
    CommandParser,
    add_benchmark,
    add_media,
    add_split,
    path,
    paths,
    whole,
)
from cign.errors import InputError
from cign.utils.file_text import escape_name
from cign.utils.terminal import make_progress, note, say, show_table

SUMMARY = "Summarise a dataset (its lists are enough) or a prepared store, and report problems."
EXAMPLE = "cign inspect work/clips"
_MAX_CLASSES = 60
_MAX_PAIRS = 10
_MAX_MISSING = 3


def add_options(parser: CommandParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "source", metavar="SOURCE", type=path, help="folder, CSV, Parquet, or prepared store"
    )
    parser.add_argument("--format", metavar="NAME", help="format of the source (default: detected)")
    add_media(parser)
    add_split(parser)
    add_benchmark(parser, "format, split and classes")
    parser.add_argument(
        "--decode",
        action="store_true",
        help="decode every clip to find broken, silent, still and (near-)duplicate clips",
    )
    parser.add_argument(
        "--listen",
        action="store_true",
        help="for a prepared store: find clips in different splits with nearly identical audio",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="for a prepared store: read all data and check it against its checksums",
    )
    parser.add_argument(
        "--write-table",
        metavar="FILE",
        type=path,
        help="write the list as a CSV table that cign can read and prepare",
    )
    parser.add_argument(
        "--write-shards",
        metavar="DIR",
        type=path,
        help="write the clips as tar files, with their labels and splits",
    )
    parser.add_argument(
        "--per-shard", metavar="N", type=whole(1), help="clips per tar file (default: 1000)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: Any) -> None:
    """Show counts, overlap, missing files and the hash of the list."""
    if options.per_shard is not None and options.write_shards is None:
        raise InputError(
            "missing-option",
            "--per-shard has no effect without --write-shards: give both, or neither",
        )
    if (options.source / "store.json").is_file():
        names = ("format", "media", "split", "benchmark", "decode", "write_table", "write_shards")
        for name in names:
            if options[name]:
                raise InputError(
                    "conflicting-options",
                    f"--{name.replace('_', '-')} does not apply to a prepared store such as "
                    f"{options.source}: "
                    "leave it out, or name the source",
                )
        facts = _store(options.source, options.listen, options.verify)
    else:
        for name in ("listen", "verify"):
            if options[name]:
                raise InputError(
                    "conflicting-options",
                    f"--{name} needs a prepared store; {options.source} is not one: use --decode",
                )
        facts = _source(options)
    if options.json:
        say(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        _show(facts)


def _source(options: Any) -> dict[str, Any]:
    from cign.data.formats import existing

    existing(options.source)  # checked before slow imports
    from cign.data.benchmarks import load_benchmark
    from cign.data.prepare.inspection import inspect_source

    found = inspect_source(
        options.source,
        format=options.format,
        media=paths(options.media),
        split=options.split,
        benchmark=load_benchmark(options.benchmark) if options.benchmark else None,
        table_file=options.write_table,
        shard_folder=options.write_shards,
        per_shard=options.per_shard or 1000,
        decode_files=options.decode,
        progress=make_progress(),
    )
    facts = {
        "kind": "source",
        "path": escape_name(str(options.source)),
        **dataclasses.asdict(found),
        "ignored": [one._asdict() for one in found.ignored],
    }
    findings = facts.pop("findings")
    return facts | {"conditions": None, "problems": (), "problems_file": None} | (findings or {})


def _store(folder: Path, listen: bool, verify: bool) -> dict[str, Any]:
    from cign.data.prepare.finishing import read_report
    from cign.data.prepare.inspection import listen_to_store
    from cign.data.store import Store

    store = Store.open(folder)
    report = read_report(store)
    table = folder / "problems.csv"  # older stores have it only as Parquet
    verified = _verify(store) if verify else None
    return {
        "kind": "store",
        "path": escape_name(str(folder)),
        "num_clips": store.num_clips,
        "class_names": list(store.class_names),
        "backbones": list(store.backbones),
        "spec": None if store.spec is None else store.spec.to_dict(),
        "list_hash": store.list_hash,
        **store.report,
        "problems": [dataclasses.asdict(problem) for problem in report.problems],
        "ignored": [one._asdict() for one in report.ignored],
        "problems_file": escape_name(str(table)) if table.is_file() else None,
        "near_duplicates": listen_to_store(store, make_progress()) if listen else None,
        "verified": verified,
    }


def _verify(store: Any) -> dict[str, bool]:
    """Check all data; returns for each part whether it has a checksum to compare with."""
    from cign.data.intact import check_media, check_tokens

    verified = {}
    if store.spec is not None:
        check_media(store)
        verified["frames and audio"] = True
    tokens = {name: check_tokens(store, name) for name in store.backbones}
    return verified | {f"tokens of {name}": known for name, known in tokens.items()}


def _show(facts: dict[str, Any]) -> None:
    """Show severe problems first, then the counts, then harmless remarks."""
    from cign.cli.commands.findings_view import has_leaks, show_remarks, show_severe
    from cign.data.prepare.findings import Problem

    for line in facts["notes"]:
        note(line)
    say(f"{facts['path']}: {facts['num_clips']} clips, {len(facts['class_names'])} classes")
    say(f"list hash {facts['list_hash']}")
    if facts["kind"] == "store":
        given = facts["spec"] or {}
        spec = ", ".join(f"{name} {value:g}" for name, value in given.items()) or "no media"
        say(f"tokens of {', '.join(facts['backbones']) or 'no backbone'}; {spec}")
    if facts.get("num_missing") and not facts["problems"]:
        more = " ..." if facts["num_missing"] > _MAX_MISSING else ""
        first = ", ".join(facts["missing"][:_MAX_MISSING]) + more
        say(f"\n{facts['num_missing']} of {facts['num_clips']} files are missing: {first}")
    problems = [Problem(**problem) for problem in facts["problems"]]
    show_severe(
        problems,
        facts["shared_sources"],
        facts["counts"],
        facts["class_names"],
        num_listed=facts.get("num_listed", facts["num_clips"]),
    )
    if facts["near_duplicates"] is not None:
        say()
        _show_near_duplicates(facts["near_duplicates"])
    say()
    show_table(("class", *facts["counts"]), _count_rows(facts["counts"], facts["class_names"]))
    show_remarks(problems, facts["conditions"] or {})
    lines = list(_closing(facts, has_leaks(problems, facts["shared_sources"]), bool(problems)))
    if lines:
        say("\n" + "\n".join(lines))


def _closing(facts: dict[str, Any], leaks: bool, odd: bool) -> Iterator[str]:
    """Checks that passed, and files that were written."""
    if not leaks:
        yield "no two splits share a recording"
    if facts["conditions"] is not None and not odd:
        of = "decoding" if facts.get("spec", True) else "the check of the features"
        yield f"{of} found no problem"
    if facts["problems_file"] and (odd or facts["ignored"]):
        yield f"full list, file by file: {facts['problems_file']}"
    if facts.get("shards"):
        written = facts["shards"]
        yield f"written: {written['num_clips']} clips in {written['num_shards']} shards"
    for part, known in (facts.get("verified") or {}).items():
        yield f"{part}: {'intact' if known else 'made by a version without checksums'}"


def _show_near_duplicates(pairs: Sequence[dict[str, Any]]) -> None:
    """Print pairs of clips in different splits with nearly identical audio."""
    say(f"{len(pairs) or 'no'} pairs of clips in different splits have nearly identical audio")
    for pair in pairs[:_MAX_PAIRS]:
        say(
            f"  {pair['clip']} ({pair['split']}) and {pair['other']} ({pair['other_split']}),\n"
            f"    shifted by {pair['shift_s']:g} s, {pair['bit_errors']:.0%} of the bits differ"
        )
    if len(pairs) > _MAX_PAIRS:
        say(f"  ... and {len(pairs) - _MAX_PAIRS} more; --json has all")


def _count_rows(
    counts: dict[str, dict[str, int]], class_names: list[str]
) -> list[tuple[str | int, ...]]:
    """Clips per class and split; with very many classes only the extremes."""
    trained = set(class_names)
    rows: list[tuple[str | int, ...]] = []
    if len(class_names) <= _MAX_CLASSES:
        rows += [(name, *(count.get(name, 0) for count in counts.values())) for name in class_names]
    else:
        for label, pick in (("fewest in a class", min), ("most in a class", max)):
            per_split = [[count.get(name, 0) for name in class_names] for count in counts.values()]
            rows.append((label, *(pick(numbers) for numbers in per_split)))
    unknown = {name for count in counts.values() for name in count} - trained
    if unknown:
        sums = [sum(count.get(name, 0) for name in unknown) for count in counts.values()]
        rows.append((f"({len(unknown)} unknown classes)", *sums))
    rows.append(("all labels", *(sum(count.values()) for count in counts.values())))
    return rows
