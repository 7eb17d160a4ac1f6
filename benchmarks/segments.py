"""Measure `cign predict --segments` on long films with a known timeline.

    cign synth work/clips --classes 24 --train 60 --val 10 --test 100
    python benchmarks/segments.py work/clips --work work/segments

A model learns 16 of 24 classes of the synthetic dataset. ffmpeg joins clips to films: each event is
a clip that is repeated and cut to a length of 3 to 12 seconds, without pauses between events; a
quarter of them are of the eight classes that were not learned. The options were chosen on films of
validation clips; the table is of films of test clips, made with another seed.

Predictions are saved in ``--work``, so that a repetition is fast. The result is the page
benchmarks/results/segments.md. The extra ``benchmarks`` installs psds_eval.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pandas as pd
from psds_eval import PSDSEval
from scipy.optimize import linear_sum_assignment

from cign import Learner, prepare
from cign.inference.prediction import Prediction
from cign.inference.segment import BRIDGE, EVERY, LEAST, SegmentRules
from cign.inference.segments import Merger
from cign.utils.files import write_text

RESULTS = Path(__file__).parent / "results" / "segments.md"
NUM_CLASSES, NUM_TRAIN = 16, 20
NUM_FILMS = 2
NUM_EVENTS = 40  # per film
COLLAR_S = 1.0
UNKNOWN = "unknown"
FINEST = 0.25  # windows
SEEDS = {"val": 1, "test": 2}


@dataclass(frozen=True)
class Event:
    """A part of a film with one class."""

    start_s: float
    end_s: float
    label: str


def rows_of(clips: Path) -> list[dict[str, str]]:
    with (clips / "clips.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def trained(clips: Path, work: Path) -> tuple[Learner, list[str]]:
    """A model of the first classes, and their names."""
    rows = rows_of(clips)
    classes = list(dict.fromkeys(row["labels"] for row in rows))[:NUM_CLASSES]
    if not (work / "model").exists():
        table, counts = work / "clips.csv", dict.fromkeys(classes, 0)
        with table.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["path", "labels", "split"], extrasaction="ignore")
            writer.writeheader()
            for row in rows:
                if row["labels"] not in counts or row["split"] == "test":
                    continue
                if row["split"] == "train":
                    counts[row["labels"]] += 1
                    if counts[row["labels"]] > NUM_TRAIN:
                        continue
                writer.writerow(row)
        prepare(table, work / "store", backbone="small", media=[clips], num_workers=0)
        Learner().learn(work / "store", out=work / "run").save(work / "model")
    return Learner.load(work / "model"), classes


def film(clips: Path, split: str, known: Sequence[str], place: Path, seed: int) -> list[Event]:
    """Join clips to a film; returns its timeline."""
    draw = random.Random(seed)
    by_class: dict[str, list[str]] = {}
    for row in rows_of(clips):
        if row["split"] == split:
            by_class.setdefault(row["labels"], []).append(row["path"])
    others = [name for name in by_class if name not in known]
    events: list[Event] = []
    lines, now_s, before = [], 0.0, ""
    for _ in range(NUM_EVENTS):
        group = others if draw.random() < 0.25 else known
        label = draw.choice([name for name in group if name != before])
        begin_s, before = now_s, label
        path, rest_s = draw.choice(by_class[label]), draw.uniform(3.0, 12.0)
        with av.open(clips / path) as media:
            whole_s = media.duration / av.time_base
        now_s += rest_s
        while rest_s > 0:
            part_s = min(rest_s, whole_s)
            lines.append(f"file '{(clips / path).absolute()}'\noutpoint {part_s:.3f}\n")
            rest_s -= part_s
        if events and label not in known and events[-1].label == UNKNOWN:
            events[-1] = replace(events[-1], end_s=now_s)
        else:
            events.append(Event(begin_s, now_s, label if label in known else UNKNOWN))
    listing = place.with_suffix(".txt")
    listing.write_text("".join(lines))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-f", "concat", "-safe", "0"]
    subprocess.run([*command, "-i", str(listing), "-c", "copy", str(place)], check=True)
    return events


def predicted(learner: Learner, place: Path, every_s: float) -> list[Prediction]:
    """The windows of a film; from a file, if it was predicted before."""
    cache = place.with_suffix(".json")
    if not cache.exists():
        found = learner.predict(place, top=NUM_CLASSES, every_s=every_s).all()
        write_text(cache, json.dumps([asdict(one) for one in found]))
    return [Prediction(**one) for one in json.loads(cache.read_text())]


def merged(windows: Sequence[Prediction], rules: SegmentRules) -> list[Event]:
    merger = Merger(rules)
    found = [one for window in windows for one in merger.push(window)] + merger.close()
    return [Event(s.start_s, s.end_s, UNKNOWN if s.is_unknown else s.label) for s in found]


def matched(truth: Sequence[Event], found: Sequence[Event]) -> Iterator[tuple[Event, Event]]:
    """Pairs of equal label that overlap, one to one, with the largest total overlap."""
    overlap = np.zeros((len(truth), len(found)))
    for i, a in enumerate(truth):
        for j, b in enumerate(found):
            if a.label == b.label:
                overlap[i, j] = max(min(a.end_s, b.end_s) - max(a.start_s, b.start_s), 0.0)
    for i, j in zip(*linear_sum_assignment(-overlap), strict=True):
        if overlap[i, j] > 0:
            yield truth[i], found[j]


Films = Sequence[tuple[Sequence[Event], Sequence[Event]]]


def scores(films: Films) -> dict[str, float]:
    """Event F1 and seconds with the right label in percent, errors of boundaries in seconds.

    An event is found if an equal one begins and ends within the collar of it.
    """
    hits, num_true, num_found, errors, right_s, all_s = 0, 0, 0, [], 0.0, 0.0
    for truth, found in films:
        num_true, num_found = num_true + len(truth), num_found + len(found)
        all_s += truth[-1].end_s
        for a, b in matched(truth, found):
            off = (abs(a.start_s - b.start_s), abs(a.end_s - b.end_s))
            errors += off
            hits += max(off) <= COLLAR_S
        for a in truth:
            for b in found:
                if a.label == b.label:
                    right_s += max(min(a.end_s, b.end_s) - max(a.start_s, b.start_s), 0.0)
    return {
        "event F1": 200 * hits / max(num_true + num_found, 1),
        "right": 100 * right_s / all_s,
        "median": statistics.median(errors),
        "p90": float(np.quantile(errors, 0.9)),
        "segments per event": num_found / num_true,
    }


def intersection_f1(films: Films) -> float:
    """Macro F1 in percent by psds_eval: half of a segment and half of an event must overlap."""
    frames: list[list[dict[str, object]]] = [[], []]
    for number, both in enumerate(films):
        for rows, events in zip(frames, both, strict=True):
            rows += [
                {
                    "filename": f"{number}.wav",
                    "onset": one.start_s,
                    "offset": one.end_s,
                    "event_label": one.label,
                }
                for one in events
            ]
    truth, found = (pd.DataFrame(rows) for rows in frames)
    ends = truth.groupby("filename")["offset"].max()
    metadata = pd.DataFrame({"filename": ends.index, "duration": ends.to_numpy()})
    judge = PSDSEval(0.5, 0.5, 0.5, ground_truth=truth, metadata=metadata)
    return 100 * float(judge.compute_macro_f_score(found)[0])


def variants(window_s: float) -> Iterator[tuple[str, int, SegmentRules]]:
    """Name, every how many of the finest windows, and rules; the default first."""
    default = SegmentRules(least_s=LEAST * window_s, bridge_s=BRIDGE * window_s, smooth=True)
    step = round(EVERY / FINEST)
    yield f"default (every {EVERY:g} windows)", step, default
    yield "windows as they are, equal neighbours joined", step, SegmentRules(enter=1e-6, leave=0.0)
    yield "unknown decided by single windows", step, replace(default, smooth=False)
    for every in (0.25, 0.5, 1.0):
        if every != EVERY:
            yield f"every {every:g} windows", round(every / FINEST), default
    for leave in (0.1, 0.3, 0.4, 0.5):
        if leave != default.leave:
            yield f"leave {leave:g}", step, replace(default, leave=leave)
    for enter in (0.3, 0.4, 0.6, 0.7, 0.8):
        rules = replace(default, enter=enter, leave=min(enter, 0.6 * enter))
        yield f"enter {enter:g}, leave {rules.leave:g}", step, rules
    for least in (0.0, 0.25, 0.5, 0.75, 1.0):
        if least != LEAST:
            yield f"least {least:g} windows", step, replace(default, least_s=least * window_s)
    for bridge in (0.0, 0.25, 0.5, 0.75):
        if bridge != BRIDGE:
            yield f"bridge {bridge:g} windows", step, replace(default, bridge_s=bridge * window_s)


def table(rows: dict[str, dict[str, float]]) -> list[str]:
    """The rows as Markdown."""
    lines = [
        "| windows and rules | event F1 | seconds right | boundary error, median | 90 % below | "
        "segments per event |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in rows.items():
        cells = (
            f"{row['event F1']:.1f}",
            f"{row['right']:.1f} %",
            f"{row['median']:.2f} s",
            f"{row['p90']:.2f} s",
            f"{row['segments per event']:.2f}",
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Make films, predict, score, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    learner, known = trained(options.clips, options.work)
    window_s = learner.model.media_spec.window_s
    tables: dict[str, dict[str, dict[str, float]]] = {}
    facts: dict[str, str] = {}
    for split, seed in SEEDS.items():
        films = []
        for number in range(NUM_FILMS):
            place = options.work / f"{split}{number}.mp4"
            truth = film(options.clips, split, known, place, 100 * seed + number)
            films.append((truth, predicted(learner, place, FINEST * window_s)))
        found = {
            name: [(truth, merged(windows[::step], rules)) for truth, windows in films]
            for name, step, rules in variants(window_s)
        }
        tables[split] = {name: scores(pairs) for name, pairs in found.items()}
        first, second = (intersection_f1(found[name]) for name in list(found)[:2])
        seconds = sum(truth[-1].end_s for truth, _ in films)
        events = [one for truth, _ in films for one in truth]
        num_unknown = sum(one.label == UNKNOWN for one in events)
        facts[split] = (
            f"{NUM_FILMS} films, {seconds:.0f} s, {len(events)} events, {num_unknown} of "
            f"them unknown. F1 by intersection, macro mean over classes, by `psds_eval`: "
            f"{first:.1f} with the defaults, {second:.1f} with windows as they are."
        )
        print(split, facts[split], *table(tables[split]), sep="\n", flush=True)
    write_text(
        RESULTS,
        "\n".join(
            [
                "# Segments of long files",
                "",
                *__doc__.split("\n\n")[2].strip().splitlines(),
                "",
                "```",
                *(line.strip() for line in __doc__.split("\n\n")[1].splitlines()),
                "```",
                "",
                f"Window {window_s:g} s, encoders `small`, `cign_analytic`, {NUM_TRAIN} clips a "
                f"class. An event is found if a segment of its class begins and ends within "
                f"{COLLAR_S:g} s of it. Boundary errors are of segments that overlap their event.",
                "",
                "## Test clips",
                "",
                facts["test"],
                "",
                *table(dict(list(tables["test"].items())[:2])),
                "",
                "## Validation clips: the choice of the defaults",
                "",
                facts["val"],
                "",
                *table(tables["val"]),
                "",
            ]
        ),
    )


if __name__ == "__main__":
    main()
