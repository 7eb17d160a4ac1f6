"""Write a synthetic corpus: MP4 files, their table and the record of their configuration."""

from __future__ import annotations

import csv
import io
import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from cign.errors import InputError
from cign.synthetic.classes import SyntheticDataset
from cign.synthetic.clip import Facts, facts_of, render_clip
from cign.synthetic.config import SynthConfig
from cign.synthetic.encode import save_mp4
from cign.synthetic.plan import ClipDraw, plan
from cign.utils.files import read_json, write_json, write_text
from cign.utils.leftovers import held_folder
from cign.utils.progress import Progress, Silent

COLUMNS = (
    *("path", "labels", "split", "box", "sound_start_s", "sound_end_s"),
    *("audio_present", "visual_present"),
)
_RECORD, _TABLE = "synth.json", "clips.csv"
_CLIPS_PER_JOB = 16


def synthesize(
    out: Path, config: SynthConfig, *, num_workers: int = 1, progress: Progress | None = None
) -> None:
    """Write a synthetic corpus, or resume an interrupted one.

    Args:
        out: The folder: ``{train,val,test,unknown}/<class>/*.mp4``, ``clips.csv``, ``synth.json``.
            A clip of two classes is in the folder of its first class.
        config: Configuration of the corpus.
        num_workers: Number of rendering processes; 1 renders in this process.
        progress: Notified of the number of finished clips.

    Raises:
        InputError: If ``out`` contains anything but an unfinished or finished corpus of the same
            configuration, or if another process writes to it.
    """
    if num_workers < 1:
        raise InputError("bad-value", f"num_workers is {num_workers}: use 1 or more")
    if out.exists() and not out.is_dir():
        raise InputError("bad-output", f"{out} is a file: give a new folder for the clips")
    progress = progress or Silent()
    with held_folder(out, "the folder"):
        _claim(out, config)
        names = SyntheticDataset(config.world).names(
            config.num_classes + config.num_unknown_classes
        )
        clips = plan(config)
        paths = [clip_path(clip, names) for clip in clips]
        jobs = [
            (out, clips[i : i + _CLIPS_PER_JOB], paths[i : i + _CLIPS_PER_JOB])
            for i in range(0, len(clips), _CLIPS_PER_JOB)
        ]
        progress.start("Rendering clips", len(clips))
        facts: dict[str, Facts] = {}
        for done in _run(jobs, num_workers):
            facts.update(done)
            progress.advance(len(done))
        progress.stop()
        write_text(out / _TABLE, _table(clips, paths, facts, names))


def clip_path(clip: ClipDraw, names: list[str]) -> str:
    """Return the path of a clip relative to the corpus."""
    return f"{clip.split}/{names[clip.class_ids[0]]}/{clip.index:04d}.mp4"


def _claim(out: Path, config: SynthConfig) -> None:
    """Claim an empty folder, or the folder of an unfinished corpus of the same configuration."""
    record = config.record()
    found = [entry.name for entry in out.iterdir() if entry.name != ".lock"]
    if not found:
        write_json(out / _RECORD, record)
        return
    if _RECORD not in found:
        raise InputError(
            "bad-output", f"{out} is not empty and has no {_RECORD}: give a new or empty folder"
        )
    if read_json(out / _RECORD, "the record of a synthetic corpus") != record:
        raise InputError(
            "bad-output",
            f"{out} contains a synthetic corpus of another configuration: give a new folder, "
            "or remove this one",
        )


_Job = tuple[Path, list[ClipDraw], list[str]]


def _run(jobs: list[_Job], num_workers: int) -> Iterator[dict[str, Facts]]:
    """Render jobs in this or several processes; yield the ground truth of each finished job."""
    if num_workers == 1:
        yield from map(_render_job, jobs)
        return
    # Spawn, do not fork: the caller may run threads (of torch or a progress display).
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        futures = [pool.submit(_render_job, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _render_job(job: _Job) -> dict[str, Facts]:
    """Render the clips that do not exist yet."""
    out, clips, paths = job
    world = SyntheticDataset(clips[0].world)
    facts = {}
    for clip, path in zip(clips, paths, strict=True):
        if (out / path).exists():
            facts[path] = facts_of(world, clip)
            continue
        rendered = render_clip(world, clip)
        save_mp4(out / path, rendered.frames, rendered.audio)
        facts[path] = rendered.facts
    return facts


def _join(values: Iterable[float]) -> str:
    return "|".join(f"{value:.4f}" for value in values)


def _table(
    clips: list[ClipDraw], paths: list[str], facts: dict[str, Facts], names: list[str]
) -> str:
    """Return the table as CSV; the cells of labels that are not visible or audible are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip, path in zip(clips, paths, strict=True):
        fact = facts[path]
        writer.writerow(
            [
                path,
                "|".join(names[class_id] for class_id in clip.class_ids),
                clip.split,
                "|".join(",".join(f"{edge:.4f}" for edge in box) for box in fact.boxes),
                _join(start_s for start_s, _ in fact.sounds),
                _join(end_s for _, end_s in fact.sounds),
                str(clip.audio_present).lower(),
                str(clip.visual_present).lower(),
            ]
        )
    return text.getvalue()
