"""Live input: a stream with a known timeline, cut twice. Found events, latency, drops and memory.

    cign synth work/live/clips --classes 6 --train 40 --val 4 --test 12 --seconds 3 --size 96
    cign prepare work/live/clips work/live/store --backbone small
    cign train work/live/store --out work/live/run
    python benchmarks/live.py work/live/run work/live/clips --seconds 600

writes ``benchmarks/results/live.md``. Test clips that the model recognises, also in all windows of
a file that repeats one, are joined to a stream (MPEG-TS), since the reader is measured and not the
model: a clip that is played five times is an event of fifteen seconds. A server on this machine
sends it in real time and cuts the connection twice for four seconds. Latencies are measured twice:
by `cign predict`, and from outside, from the time at which the server sends the last sample of a
window to the time at which the line about it is read.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from live_server import LiveServer, Schedule, join_clips

from cign.inference.prediction import Prediction
from cign.inference.segment import SegmentRules
from cign.inference.segments import Merger
from cign.learner import Learner
from cign.utils.files import write_text

OUT = Path(__file__).parent / "results" / "live.md"
TIMES, OUTAGE_S = 5, 4.0


@dataclass(frozen=True)
class Event:
    """A class and its time in the stream, in seconds."""

    label: str
    start_s: float
    end_s: float


@dataclass
class Watched:
    """What was read from `cign predict`, and when.

    Attributes:
        rows: Objects of ``--jsonl``, each with ``read_s``, on the monotonic clock.
        memory_kb: Time and resident memory of the process.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    memory_kb: list[tuple[float, int]] = field(default_factory=list)
    remarks: str = ""


def recognised(model: Path, clips: Path, work: Path, every_s: float) -> dict[str, list[Path]]:
    """Test clips that the model recognises in every window while they are repeated, by class."""
    learner, work = Learner.load(model), work / "repeated"
    work.mkdir(parents=True, exist_ok=True)
    files = sorted(clips.glob("test/*/*.mp4"))
    alone = zip(files, learner.predict(files), strict=True)
    found: dict[str, list[Path]] = {}
    for file in [file for file, one in alone if is_right(one, file)]:
        repeated = work / f"{file.parent.name}-{file.stem}.ts"
        if not repeated.exists():
            join_clips([file] * TIMES, repeated)
        windows = learner.predict([repeated], every_s=every_s)
        if all(is_right(one, file) for one in windows):
            found.setdefault(file.parent.name, []).append(file)
    return found


def is_right(found: Prediction, file: Path) -> bool:
    """Whether a prediction is the class of a clip, and not called unknown."""
    return found.label == file.parent.name and not found.is_unknown


def make_timeline(
    by_class: dict[str, list[Path]], seconds: float, clip_s: float, seed: int = 0
) -> list[list[Path]]:
    """The clips of each event: classes in a random order, clips of a class in turns."""
    draw, events, last = random.Random(seed), [], ""
    used = dict.fromkeys(by_class, 0)
    while len(events) * TIMES * clip_s < seconds:
        last = draw.choice([name for name in by_class if name != last])
        files = by_class[last]
        events.append([files[used[last] % len(files)]] * TIMES)
        used[last] += 1
    return events


def events_of(timeline: list[list[Path]], clip_s: float) -> list[Event]:
    """The events of a timeline."""
    length_s = TIMES * clip_s
    return [
        Event(clips[0].parent.name, number * length_s, (number + 1) * length_s)
        for number, clips in enumerate(timeline)
    ]


def watch(model: Path, server: LiveServer, seconds: float, *options: str) -> Watched:
    """Run `cign predict` on a stream until it is over; stop it as a user does."""
    command = [sys.executable, "-m", "cign", "predict", str(model), server.url, "--jsonl"]
    found = Watched()
    with subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None

        def read() -> None:
            for line in child.stdout or ():
                found.rows.append({**json.loads(line), "read_s": time.monotonic()})

        reader = threading.Thread(target=read)
        reader.start()
        while server.begun_s is None or server.now_s() < seconds + 2 * server.speed:
            if child.poll() is not None:
                break
            if server.begun_s is not None:
                pages = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1])
                found.memory_kb.append((server.now_s(), 4 * pages))
            time.sleep(0.5)
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            child.terminate()  # a process in the background ignores Ctrl-C
        found.remarks = child.stderr.read()
        reader.join()
    return found


def predict_file(model: Path, file: Path, every_s: float) -> list[dict[str, Any]]:
    """The windows of the finished file."""
    command = [sys.executable, "-m", "cign", "predict", str(model), str(file), "--jsonl"]
    made = subprocess.run(
        [*command, "--every", str(every_s)], check=True, capture_output=True, text=True
    )
    return [json.loads(line) for line in made.stdout.splitlines()]


def ends_of(path: Path) -> list[tuple[float, int]]:
    """End of each audio packet in seconds from the start of the stream, and where its bytes end."""
    with av.open(str(path)) as opened:
        starts = [float(one.start_time * one.time_base) for one in opened.streams]
        track = opened.streams.audio[0]
        packets = [p for p in opened.demux(track) if p.pts is not None]
        tick_s = float(track.time_base)
        begins = [packet.pos for packet in packets[1:]] + [path.stat().st_size]
        return [
            ((p.pts + p.duration) * tick_s - min(starts), begin - 1)
            for p, begin in zip(packets, begins, strict=True)
        ]


def outside_latencies_s(
    rows: list[dict[str, Any]], path: Path, schedule: Schedule, begun_s: float, speed: float
) -> list[float]:
    """Seconds from sending the last sample of a window to reading its line."""
    ends = ends_of(path)
    times_s = [one[0] for one in ends]
    found = []
    for row in rows:
        index = min(int(np.searchsorted(times_s, row["end_s"] - 1e-3)), len(ends) - 1)
        sent_s = begun_s + schedule.sent_at_s(ends[index][1]) / speed
        found.append(row["read_s"] - sent_s)
    return found


def segments_of(rows: list[dict[str, Any]], rules: SegmentRules) -> list[Any]:
    """Merge the windows as `--segments` does."""
    merger, found = Merger(rules), []
    names = Prediction.__dataclass_fields__
    for row in rows:
        found += merger.push(Prediction(**{k: v for k, v in row.items() if k in names}))
    return found + merger.close()


def is_found(event: Event, segments: list[Any]) -> bool:
    """Whether segments of the class cover at least half of the event."""
    inside = (
        min(one.end_s, event.end_s) - max(one.start_s, event.start_s)
        for one in segments
        if one.label == event.label
    )
    return sum(max(part, 0.0) for part in inside) >= (event.end_s - event.start_s) / 2


def spread(values: list[float]) -> str:
    """Median and 95 % quantile."""
    median, late = np.percentile(values, [50, 95])
    return f"{median:.2f} / {late:.2f}"


def page(arguments: argparse.Namespace, found: dict[str, Any], load: str) -> str:
    """The results as a page."""
    rows = "\n".join(f"| {name} | {value} |" for name, value in found.items())
    command = (
        f"python benchmarks/live.py work/live/run work/live/clips --seconds {arguments.seconds:g}"
    )
    return (
        f"# Live input\n\n`{command}`; the docstring of the script says how run and clips are made."
        f"\n\nA stream of {arguments.seconds:g} s with a known timeline, sent in real time "
        "over HTTP on this machine and cut twice for four seconds, read by `cign predict --jsonl "
        f"--every {arguments.every:g} --follow` with one thread. An event is a test clip of 3 s "
        "played five times, which the model recognises in every window of such a file; it is "
        "found if segments of its class (`Merger`; least duration and bridged gap of half a "
        "window) cover at least half of it. "
        "Latency: median / 95 %, in seconds, from the last sample of a window to its answer; the "
        "time from outside begins when the server sends it and ends when the line is read."
        f"\n\n{load}\n\n| | |\n| --- | --- |\n{rows}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clip-seconds", type=float, default=3.0)
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--work", type=Path, default=Path("work/live"))
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    by_class = recognised(arguments.model, arguments.clips, arguments.work, arguments.every)
    timeline = make_timeline(by_class, arguments.seconds, arguments.clip_seconds)
    events = events_of(timeline, arguments.clip_seconds)
    arguments.work.mkdir(parents=True, exist_ok=True)
    stream = arguments.work / "stream.ts"
    join_clips([clip for clips in timeline for clip in clips], stream)
    length_s = events[-1].end_s
    cuts_s = [events[len(events) // 3].start_s + 3, events[2 * len(events) // 3].start_s + 3]
    server = LiveServer(stream.read_bytes(), cuts_s=cuts_s, outage_s=OUTAGE_S)
    watched = watch(arguments.model, server, length_s, "--follow", "--every", str(arguments.every))
    print(watched.remarks, file=sys.stderr)
    rows = [row for row in watched.rows if row["error"] is None]
    window_s = rows[0]["end_s"] - rows[0]["start_s"]
    write_text(arguments.work / "rows.json", json.dumps(watched.rows))
    rules = SegmentRules(least_s=window_s / 2, bridge_s=window_s / 2)
    segments = segments_of(rows, rules)
    file_rows = predict_file(arguments.model, stream, arguments.every)
    of_file = segments_of(file_rows, rules)
    labels = {row["start_s"]: row["label"] for row in file_rows}
    shared = [row for row in rows if row["start_s"] in labels]
    same = sum(row["label"] == labels[row["start_s"]] for row in shared)
    assert server.begun_s is not None
    outside = outside_latencies_s(rows, stream, server.schedule, server.begun_s, server.speed)
    inside = [row["latency_s"] for row in rows if row["is_paced"]]
    most = {
        share: max(kb for at_s, kb in watched.memory_kb if low <= at_s < high)
        for share, low, high in (
            ("second minute", 60, 120),
            ("last minute", length_s - 60, length_s),
        )
    }
    missed = [one for one in events if not is_found(one, segments)]
    centred = [
        (row, next(e for e in events if e.start_s <= (row["start_s"] + row["end_s"]) / 2 < e.end_s))
        for row in rows
        if (row["start_s"] + row["end_s"]) / 2 < length_s
    ]
    right = sum(row["label"] == event.label for row, event in centred)
    found = {
        "events found": f"{len(events) - len(missed)} of {len(events)}",
        "events found in the finished file": f"{sum(is_found(e, of_file) for e in events)} of "
        f"{len(events)}",
        "windows with the same label as in the finished file": f"{same} of {len(shared)}",
        "windows whose label is that of the event at their centre": f"{right} of {len(centred)}",
        "windows dropped": sum(row["num_dropped"] for row in rows),
        "connections, refused attempts": f"{server.num_connections}, {server.num_refused}",
        "windows faster than real time": sum(not row["is_paced"] for row in rows),
        "latency reported": spread(inside),
        "latency from outside": spread(outside),
        **{f"most memory in the {name}": f"{kb / 1000:.0f} MB" for name, kb in most.items()},
    }
    load = (
        "Average load of the machine (two cores) during the run, at its end over 5 minutes: "
        f"{Path('/proc/loadavg').read_text().split()[1]}."
    )
    write_text(arguments.out, page(arguments, found, load))
    print(json.dumps({**found, "missed": [vars(one) for one in missed]}, indent=1))


if __name__ == "__main__":
    main()
