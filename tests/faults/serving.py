"""Requests to a real `cign serve` that is killed, whose model changes, and whose clients misbehave.

    python tests/faults/serving.py FOLDER --number 100 --seed 0

prints one JSON object: counts of each kind of action, and the problems: a server that ended by
itself, a traceback in its log, an answer that no version of the model gives.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from cign.saved_model.files import ABOUT, folder_in_use, state_of
from faults import script
from faults.cases import World
from faults.children import finished, load_commands, run_child
from faults.mutations import mutate, mutate_json
from serving.client import Client, multipart, received

ACTIONS = {"request": 6, "body": 6, "head": 3, "leave": 4, "change": 3, "damage": 2, "kill": 1}
"""Actions and how often each is drawn."""

WAIT_S = 60.0


class Server:
    """A process of `cign serve`.

    Args:
        model: The MODEL folder.
        folder: For its log and its uploads.
    """

    def __init__(self, model: Path, folder: Path) -> None:
        self.log = folder / "serve.log"
        command = [sys.executable, "-m", "cign", "serve", str(model), "--port", "0"]
        environment = {**os.environ, "TMPDIR": str(folder)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        assert self.process.stdout is not None
        address = self.process.stdout.readline().split()
        assert address, self.log.read_text()
        self.client = Client(int(address[0].rpartition(":")[2]))

    def check(self) -> None:
        """It is running, and its log has no traceback.

        Raises:
            AssertionError: Otherwise.
        """
        assert self.process.poll() is None, f"it ended: {self.log.read_text()[-400:]}"
        assert "Traceback" not in self.log.read_text(), self.log.read_text()[-600:]

    def end(self, number: int) -> int:
        """Send a signal, and give the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


class Session:
    """Drawn actions against one server and its model.

    Args:
        world: It must be built.
        seed: Of the actions.
    """

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.draw = world, random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.problems: list[str] = []
        self.folder = world.root / "serving"
        self.folder.mkdir()
        self.model = shutil.copytree(world.model, self.folder / "model")
        self.clips = sorted((world.clips / "test").rglob("*.mp4"))
        self._expected: dict[tuple[str, Path], Any] = {}
        self._seen = {self._checksum()}
        self.server = Server(self.model, self.folder)

    def _checksum(self) -> str:
        return (state_of(self.model) or "")[:12]

    def act(self) -> None:
        """One action, then a look at the server; what is wrong is noted, not raised."""
        kind = self.draw.choices([*ACTIONS], [*ACTIONS.values()])[0]
        try:
            self.counts[f"{kind}: {getattr(self, f'_{kind}')()}"] += 1
            self.server.check()
        except (AssertionError, OSError) as error:
            self.counts[f"{kind}: problems"] += 1
            self.problems.append(f"{kind}: {type(error).__name__}: {str(error)[-500:]}")
            if self.server.process.poll() is not None:
                self.server = Server(self.model, self.folder)

    def close(self) -> None:
        """End the server properly."""
        code = self.server.end(signal.SIGTERM)
        if code != 0:
            self.problems.append(f"exit code {code} after SIGTERM")

    def _request(self) -> str:
        """A clip, which gets the answer of the current version."""
        clip = self.draw.choice(self.clips)
        answer = self.server.client.predict(clip)
        assert answer.status == 200, answer.body
        (found,) = answer.json
        assert found["model_checksum"] in self._seen, found
        if found["model_checksum"] == self._checksum():
            expected = self._predicted(clip)
            odd = [name for name in expected if name != "file" and expected[name] != found[name]]
            assert not odd, f"{odd} differ from `cign predict`"
        return "answered"

    def _predicted(self, clip: Path) -> Any:
        """The object of `cign predict --json` by the version in the folder."""
        key = self._checksum(), clip
        if key not in self._expected:
            arguments = ("predict", self.model, clip, "--json")
            done = finished(run_child(arguments, self.world.log), self.world.log)
            assert done.code == 0, done.err
            (self._expected[key],) = json.loads(done.out)
        return self._expected[key]

    def _body(self) -> str:
        """A form with changed bytes: predicted or refused."""
        body, kind = multipart([self.draw.choice(self.clips)])
        changed = mutate(body, self.clips[0].read_bytes(), self.draw.randrange(10**9))
        answer = self.server.client.call("POST", "/predict", changed, {"Content-Type": kind})
        assert answer.status == 200 or 400 <= answer.status < 500, (answer.status, answer.body)
        if answer.status != 200:
            assert set(answer.json) == {"error", "code"}, answer.body
        return "answered" if answer.status == 200 else "refused"

    def _head(self) -> str:
        """Changed bytes anywhere in a request."""
        body, kind = multipart([self.draw.choice(self.clips)])
        head = f"POST /predict?top=1 HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        whole = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        changed = mutate(whole, body, self.draw.randrange(10**9))
        with socket.create_connection(("127.0.0.1", self.server.client.port), WAIT_S) as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(changed + body)
                sock.shutdown(socket.SHUT_WR)
            answer = received(sock)
        assert not answer or answer.startswith(b"HTTP/1.1 "), answer[:200]
        assert not answer.startswith(b"HTTP/1.1 500"), answer[-300:]
        return "answered" if answer.startswith(b"HTTP/1.1 2") else "refused"

    def _leave(self) -> str:
        """A client that leaves during its upload."""
        body, kind = multipart([self.draw.choice(self.clips)])
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        whole = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        with socket.create_connection(("127.0.0.1", self.server.client.port), WAIT_S) as sock:
            sock.sendall(whole[: self.draw.randrange(len(whole))])
            if self.draw.random() < 0.5:  # a reset instead of a proper end
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._until(lambda: not [*self.folder.glob("cign-serve-*/*.*")], "the upload remains")
        return "left"

    def _change(self) -> str:
        """Another process changes the model while requests are answered."""
        name = self.draw.choice(("add", "forget", "replace", "resolve", "undo"))
        undo = ["versions", self.model, "--undo"]
        arguments = undo if name == "undo" else self.world.case(name, self.model).arguments
        child = run_child(arguments, self.world.log)
        answers = [self.server.client.predict(self.clips[0]) for _ in range(2)]
        done = finished(child, self.world.log)
        if done.code != 0:
            assert done.sentence
        self._seen.add(self._checksum())
        for answer in answers:
            assert answer.status == 200, answer.body
            assert answer.json[0]["model_checksum"] in self._seen, answer.body
        self._until(self._is_current, "it does not load the changed model")
        return self._request() if done.code == 0 else "refused"

    def _is_current(self) -> bool:
        return self.server.client.get("/health").json["model_checksum"] == self._checksum()

    def _damage(self) -> str:
        """A description that cannot be used for a while: the version in memory answers."""
        path = folder_in_use(self.model) / ABOUT
        whole = path.read_bytes()
        before = self.server.client.get("/health").json["model_checksum"]
        changed = mutate_json(whole, self.draw.randrange(10**9))
        try:
            path.write_bytes(changed)
            damaged = self._checksum()
            time.sleep(self.draw.uniform(0, 1.5))
            answer = self.server.client.predict(self.clips[0])
            assert answer.status == 200, answer.body
            assert answer.json[0]["model_checksum"] in (before, damaged), answer.body
        finally:
            path.write_bytes(whole)
        self._until(self._is_current, "it does not load the restored model")
        return "answered"

    def _kill(self) -> str:
        """The server is killed, with an upload in progress, and started again."""
        with socket.create_connection(("127.0.0.1", self.server.client.port), WAIT_S) as sock:
            sock.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
            self.server.end(signal.SIGKILL)
        left = set(self.folder.glob("cign-serve-*"))
        self.server = Server(self.model, self.folder)
        assert not [folder for folder in left if folder.exists()], "uploads of the killed remain"
        return self._request()

    def _until(self, condition: Any, sentence: str) -> None:
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end, sentence
            time.sleep(0.05)


def run(root: Path, number: int, seed: int) -> dict[str, Any]:
    """Make requests.

    Args:
        root: A new folder, or one with a world that was built.
        number: Number of actions.
        seed: Of the actions.
    """
    load_commands()
    world = World(root)
    world.build()
    session = Session(world, seed)
    begin = time.monotonic()
    try:
        for _ in range(number):
            session.act()
    finally:
        session.close()
    return script.results(session.counts, session.problems, begin)


if __name__ == "__main__":
    script.main(__doc__.split("\n")[0], run, 100)
