"""A change of a model, killed before each of its file operations and at random moments.

Run as a process of its own, single-threaded, so that it can fork: a child makes the change and
kills itself, or is killed; the parent then reads the model.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from functools import partial
from pathlib import Path

import torch

from cign.saved_model.folder import load_model
from cign.saved_model.versions import list_versions, publish, undo
from cign.updating.edits import remove_class, rename_class
from cign.utils.files import folder_lock

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")


def change(place: Path) -> None:
    with folder_lock(place, "model"):
        publish(remove_class(rename_class(load_model(place), "class 0", "zero"), "class 1"), place)


def state(place: Path) -> tuple:
    model = load_model(place)
    numbers = tuple(float(v.double().sum()) for v in model.method.state_dict().values())
    kept = None if model.kept is None else (model.kept.labels, float(model.kept.audio.sum()))
    return model.classes, numbers, kept, model.unknown_threshold


def killed_at(number: int, what) -> None:
    """Have this process killed before its ``number``-th file operation."""
    left = [number]

    def hook(event, _):
        if event in EVENTS:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    what()


def in_child(work) -> int:
    """Exit status of a forked child; -9 if it was killed."""
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check(place: Path, before: tuple, after: tuple) -> bool:
    """Whether the change is there; it is there whole or not at all, and the next one works."""
    found = state(place)
    assert found in (before, after), found
    numbers = [one.number for one in list_versions(place)]
    with folder_lock(place, "model"):
        publish(load_model(place), place)
    assert state(place) == found
    assert [one.number for one in list_versions(place)][: len(numbers)] == numbers
    assert {p.name for p in place.iterdir()} == {"CURRENT", "versions", ".lock"}
    assert not [p for p in (place / "versions").iterdir() if p.name.startswith(".")]
    return found == after


def main(source: Path, work: Path) -> None:
    torch.set_num_threads(1)
    for name, what in (("change", change), ("undo", undo)):
        begin = work / f"begin-{name}"
        shutil.copytree(source, begin)
        if what is undo:
            change(begin)
        done = work / f"done-{name}"
        shutil.copytree(begin, done)
        started = time.monotonic()
        what(done)
        took_s = time.monotonic() - started
        before, after = state(begin), state(done)
        assert before != after
        there = []
        status, number = -9, 0
        while status == -9:
            number += 1
            place = work / f"{name}-{number}"
            shutil.copytree(begin, place)
            status = in_child(partial(killed_at, number, partial(what, place)))
            assert status in (0, -9), status
            there.append(check(place, before, after))
            shutil.rmtree(place)
        assert there == sorted(there), "once it is there it stays"
        assert there[-1]
        assert not there[0]
        draw = random.Random(0)
        for number in range(20):
            place = work / f"{name}-random-{number}"
            shutil.copytree(begin, place)
            child = os.fork()
            if child == 0:
                what(place)
                os._exit(0)
            time.sleep(draw.uniform(0, 1.2 * took_s))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            check(place, before, after)
            shutil.rmtree(place)
        print(name, len(there), sum(there))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
