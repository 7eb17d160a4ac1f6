"""Mutated models, stores, runs and lists of clips through the commands that read them.

    python tests/faults/fuzz_inputs.py FOLDER --number 500 --seed 0

prints one JSON object: for each kind of file how many were used and refused, and the problems: no
answer in one sentence, a hang, or a change that a checksum should have revealed.
"""

from __future__ import annotations

import random
import resource
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import script
from faults.cases import World
from faults.children import Outcome, finished, load_commands, run_child
from faults.inputs import OUT, Input, inputs
from faults.mutations import mutate, mutate_json, mutate_text

KINDS = ("model", "store", "list", "run")
TIMEOUT_S = 60.0
MOST_BYTES = 4 * 2**30  # of a child
TEXTS = (".csv", ".tsv", ".txt", ".yaml", ".eaf", ".xml", "")


class Fuzzer:
    """Mutates the inputs of a world, one at a time.

    Args:
        world: It must be built.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.inputs = inputs(world)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self._whole: dict[tuple[object, ...], tuple[Outcome, dict[str, Any]]] = {}

    def run(self, one: Input, command: tuple[object, ...]) -> tuple[Outcome, dict[str, Any]]:
        """Run a command in a child, with limits; gives its outcome and what it left."""
        out = self.world.root / "out"
        if one.template is not None:
            shutil.copytree(one.template, out)
        arguments = [out if part == OUT else part for part in command]
        limit = (MOST_BYTES, resource.getrlimit(resource.RLIMIT_DATA)[1])
        child = run_child(
            arguments, self.world.log, lambda: resource.setrlimit(resource.RLIMIT_DATA, limit)
        )
        try:
            done = finished(child, self.world.log, TIMEOUT_S)
            left = one.result(out) if one.result is not None and done.code == 0 else {}
            return done, left
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def whole(self, one: Input, command: tuple[object, ...]) -> tuple[Outcome, dict[str, Any]]:
        """The same with the file as it was."""
        key = (one.template, *command)
        if key not in self._whole:
            self._whole[key] = self.run(one, command)
            assert self._whole[key][0].code == 0, self._whole[key]
        return self._whole[key]

    def trial(self, seed: int) -> None:
        """Mutate one file; what is wrong is noted, not raised."""
        draw = random.Random(seed)
        kind = KINDS[seed % len(KINDS)]
        one = draw.choice([one for one in self.inputs if one.kind == kind])
        command = tuple(draw.choice(one.commands))
        expected = self.whole(one, command)
        before = one.path.read_bytes()
        other = self.inputs[draw.randrange(len(self.inputs))].path.read_bytes()
        one.path.write_bytes(mutated(one, before, other, seed))
        try:
            answer = self.run(one, command)
            self.counts[f"{one.kind}: {self._judged(one, answer, expected)}"] += 1
        except AssertionError as error:
            self.counts[f"{one.kind}: problems"] += 1
            name = one.path.relative_to(self.world.root)
            self.problems.append(f"seed {seed}, {name}, {command[0]}: {str(error)[-500:]}")
        finally:
            one.path.write_bytes(before)

    def _judged(
        self,
        one: Input,
        found: tuple[Outcome, dict[str, Any]],
        expected: tuple[Outcome, dict[str, Any]],
    ) -> str:
        """Whether a file was used or refused.

        Raises:
            AssertionError: If the command gave no proper answer.
        """
        answer = found[0]
        assert "Traceback" not in answer.err, answer.err
        if answer.code == 0:
            if one.has_checksum and one.result is not None:
                assert found[1] == expected[1], "the result differs"
            elif one.has_checksum:
                assert answer.out == expected[0].out, "the change is not noticed"
            return "used"
        assert answer.code in (1, 2), (answer.code, answer.err)
        assert answer.sentence
        return "refused"


def mutated(one: Input, before: bytes, other: bytes, seed: int) -> bytes:
    """The content of a file with changes of its bytes or, for texts, more often of its values."""
    is_text = random.Random(seed).random() < 0.8
    if is_text and one.path.suffix == ".json":
        return mutate_json(before, seed)
    if is_text and one.path.suffix in TEXTS:
        return mutate_text(before, seed)
    return mutate(before, other, seed)


def fuzz(root: Path, number: int, seed: int) -> dict[str, Any]:
    """Use mutated files.

    Args:
        root: A new folder, or one with a world that was built.
        number: How many.
        seed: Of the first; the others count on.
    """
    load_commands()
    world = World(root)
    world.build()
    fuzzer = Fuzzer(world)
    begin = time.monotonic()
    for one in range(seed, seed + number):
        fuzzer.trial(one)
    return script.results(fuzzer.counts, fuzzer.problems, begin)


if __name__ == "__main__":
    script.main(__doc__.split("\n")[0], fuzz, 500)
