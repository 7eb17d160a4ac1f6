"""Commands that change a model, stopped before each of their writes; and two at the same time.

Run as a process of its own, single-threaded, so that it can fork. A child runs a command and copies
the folder of the model before each of its writes, which is what a kill at that moment leaves. Other
children kill themselves before some of the writes, which must leave the same; then the command is
given again.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch

from cign.cli.entry_point import main as cign
from cign.data.prepare.features import prepare_features
from cign.learner import Learner
from cign.saved_model.folder import load_model
from cign.saved_model.versions import list_versions

CLASSES = np.array(["ape", "bee", "cat", "dog"])
OPTIONS = {"width": 20, "ridge": [5.0, 50.0], "contrast": [0.0], "saliency": [0.0]}
CHANGES = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree")
WRITES = os.O_WRONLY | os.O_RDWR
EVERY = 13
"""Children kill themselves before every so many writes."""


def store_of(folder: Path, labels: np.ndarray, seed: int, *, val: int = 0) -> Path:
    """A store of features; clips with the same seed and number are equal, whatever the labels.

    Args:
        folder: A new folder.
        labels: Number of the class of each clip.
        seed: Of the features.
        val: How many clips at the end are for validation.
    """
    number, means = np.arange(len(labels)), np.eye(4, 12)[np.arange(len(labels)) % 4][:, None]
    audio, visual = (
        (
            np.random.default_rng([seed, dim]).normal(size=(len(labels), 3, dim)) + means[..., :dim]
        ).astype("f2")
        for dim in (8, 12)
    )
    features = {"audio": audio, "visual": visual, "labels": CLASSES[labels]}
    features["split"] = np.where(number < len(labels) - val, "train", "val")
    features["id"] = np.array([f"{seed}/{n}" for n in number])
    prepare_features(features, folder, encoders="made", min_classes=1)
    return folder


def state(place: Path) -> tuple[object, ...]:
    """What a model predicts from and records, without times."""
    model, digest = load_model(place), hashlib.sha256()
    for name, values in sorted(model.method.state_dict().items()):
        if not name.endswith("forgotten_at"):
            digest.update(name.encode() + values.contiguous().numpy().tobytes())
    kept = () if model.kept is None else (model.kept.labels, model.kept.to_bytes())
    return model.classes, digest.hexdigest(), kept, model.thresholds, model.unknown


def before_writes(place: Path, act: Callable[[int], object]) -> None:
    """Call ``act`` in this process before each change in a folder, with its number from 1."""
    inside, count, is_acting = f"{place}/", [0], [False]

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if is_acting[0] or event not in CHANGES:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & WRITES):
            return
        if any(inside in f"{one}/" for one in arguments[:2]):
            count[0] += 1
            is_acting[0] = True
            act(count[0])
            is_acting[0] = False

    sys.addaudithook(hook)


def kill_at(number: int) -> Callable[[int], None]:
    """Kills this process before a write of this number."""

    def act(reached: int) -> None:
        if reached == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def forked(work: Callable[[], int]) -> int:
    """Process id of a child that does work, and exits with its result."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                code = work()
        finally:
            os._exit(code)
    return child


def exit_code(child: int) -> int:
    """Exit code of a child; -9 if it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def stopped_anywhere(begin: Path, work: Path, command: list[object]) -> tuple[int, int]:
    """Stop a command before each of its writes.

    Returns:
        Number of its writes, and at how many of them it was killed.
    """

    def run(place: Path, act: Callable[[int], object] | None = None) -> int:
        if act is not None:
            before_writes(place, act)
        return cign([str(place if part is MODEL else part) for part in command])

    def copy(number: int) -> None:
        shutil.copytree(done, work / str(number))

    done, num_killed = work / "done", 0
    shutil.copytree(begin, done)
    assert exit_code(forked(lambda: run(done, copy))) == 0, command
    before, after = state(begin), state(done)
    assert before != after, command
    num_writes = sum(path.name.isdigit() for path in work.iterdir())
    there = []
    for number in range(1, num_writes + 1):
        left = work / str(number)
        found = state(left)
        is_there = found == after
        assert found in (before, after), (command, number)
        assert [one.number for one in list_versions(left)] == [1, 2][: 1 + is_there]
        there.append(is_there)
        if number % EVERY:
            continue
        killed, num_killed = work / f"killed at {number}", num_killed + 1
        shutil.copytree(begin, killed)
        child = forked(lambda killed=killed, number=number: run(killed, kill_at(number)))
        assert exit_code(child) == -signal.SIGKILL
        assert state(killed) == found
        assert names(killed) == names(left)
        if found == before:  # the user gives the command again
            assert exit_code(forked(lambda killed=killed: run(killed))) == 0
            assert state(killed) == after, (command, number)
            assert {one.name for one in killed.iterdir()} == {"CURRENT", "versions", ".lock"}
            assert {one.name for one in (killed / "versions").iterdir()} == {"1", "2"}
    assert there == sorted(there), "once it is there it stays"
    return num_writes, num_killed


def names(folder: Path) -> list[str]:
    """Names of all files of a folder, without the numbers of processes."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return sorted(re.sub(r"[0-9a-f]{4,}", "", name) for name in found)


def corrected_while_added(begin: Path, work: Path, more: Path, corrections: Path) -> None:
    """A correction while another process adds clips is refused; afterwards it is learned, too."""
    place = work / "both"
    shutil.copytree(begin, place)
    reached, go = os.pipe(), os.pipe()

    def pause(number: int) -> None:
        if number == 3:  # the folder is locked, and the new version is being written
            os.write(reached[1], b"x")
            os.read(go[0], 1)

    def adds() -> int:
        before_writes(place, pause)
        return cign(["add", str(place), str(more)])

    adding = forked(adds)
    assert os.read(reached[0], 1) == b"x"
    before, errors = state(place), io.StringIO()
    correct = ["add", str(place), str(corrections), "--replace"]
    with redirect_stderr(errors), redirect_stdout(io.StringIO()):
        assert cign(correct) == 2
    (sentence,) = [one for one in errors.getvalue().splitlines() if one.startswith("cign: ")]
    assert "is in use by another process: wait for it" in sentence
    assert state(place) == before
    os.write(go[1], b"x")
    assert exit_code(adding) == 0
    assert exit_code(forked(lambda: cign(correct))) == 0
    one_by_one = work / "one by one"
    shutil.copytree(begin, one_by_one)
    for command in (["add", str(one_by_one), str(more)], ["add", str(one_by_one), *correct[2:]]):
        assert exit_code(forked(lambda command=command: cign(command))) == 0
    assert state(place) == state(one_by_one) != before
    assert [one.number for one in list_versions(place)] == [1, 2, 3]
    print("busy", sentence)


MODEL = object()


def main(work: Path) -> None:
    torch.set_num_threads(1)
    labels = np.arange(32) % 4
    wrong = labels.copy()
    wrong[[4, 9]] = 0, 2
    first = store_of(work / "first", wrong, 1, val=8)
    some, more = store_of(work / "some", wrong[:6], 1), store_of(work / "more", labels[:12], 2)
    right = store_of(work / "right", labels[:12], 1)
    begin, other = work / "begin", work / "other"
    for source, place in ((first, begin), (more, other)):
        learner = Learner("cign_analytic", options=OPTIONS)
        learner.learn(source, progress=False).save(place)
    commands = {
        "merge": ["merge", MODEL, other, "--settings", "A"],
        "forget": ["forget", MODEL, some],
        "replace": ["add", MODEL, right, "--replace"],
        "resolve": ["resolve", MODEL, "--ridge", "7"],
        "thresholds": ["thresholds", MODEL, first, "--precision", "0.8"],
    }
    for name, command in commands.items():
        (work / name).mkdir()
        print(name, *stopped_anywhere(begin, work / name, command), flush=True)
    corrected_while_added(begin, work, more, right)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
