"""A client of the standard library, and a server in a thread."""

import http.client
import json
import socket
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field

from cign.serving.listening import listen
from cign.serving.model_service import ModelService
from cign.serving.running import make_server, upload_folder
from cign.serving.server_state import ServerState
from cign.serving.settings import Settings

TOKEN = "a-token-of-the-tests"


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    def refused(self, status, code, *parts):
        """Check that it is an error with a code and a sentence with these parts."""
        assert self.status == status, self.body
        assert self.headers["content-type"] == "application/json"
        assert set(self.json) == {"error", "code"}
        assert self.json["code"] == code, self.body
        for part in parts:
            assert part in self.json["error"]


@dataclass
class Client:
    port: int
    token: str | None = None
    state: ServerState | None = field(default=None, repr=False)

    def call(self, method, path, body=None, headers=(), token=True):
        headers = dict(headers)
        if self.token and token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=100)
        try:
            connection.request(method, path, body, headers)
            found = connection.getresponse()
            names = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, names, found.read())
        finally:
            connection.close()

    def get(self, path, **how):
        return self.call("GET", path, **how)

    def send(self, path, files, field="file", fields=(), **how):
        body, kind = multipart(files, field, fields)
        return self.call("POST", path, body, {"Content-Type": kind}, **how)

    def predict(self, *files, query=""):
        return self.send(f"/predict{query}", files)

    def raw(self, data, wait_s=30.0):
        """Send bytes, and return everything that comes back until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait_s) as sock:
            sock.sendall(data)
            return received(sock)


def received(sock):
    found = b""
    try:
        while piece := sock.recv(65536):
            found += piece
    except (ConnectionResetError, TimeoutError):
        pass
    return found


def multipart(files, field="file", fields=()):
    """A body and its content type; a file is a path, or a name and its bytes."""
    mark = uuid.uuid4().hex
    parts = []
    for name, value in fields:
        parts.append(
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        )
    body = "".join(parts).encode()
    for file in files:
        name, data = file if isinstance(file, tuple) else (file.name, file.read_bytes())
        head = f'--{mark}\r\nContent-Disposition: form-data; name="{field}"; filename="'
        body += head.encode() + name.encode() + b'"\r\n\r\n' + data + b"\r\n"
    return body + f"--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


@contextmanager
def running(model, routers=(), **settings):
    """A server in a thread; yields its client."""
    configured = Settings(**settings)
    service = ModelService(model, teach=configured.teach, features=True)
    with listen("127.0.0.1", 0) as taken, upload_folder() as folder:
        state = ServerState(service, configured, folder)
        state.start()
        started = threading.Event()
        server = make_server(state, ready=started.set, routers=routers)
        port = taken.getsockname()[1]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]})
        thread.start()
        try:
            assert started.wait(60)
            yield Client(port, configured.token, state)
            assert list(folder.glob("*.*")) == []  # no upload remains
        finally:
            server.should_exit = True
            thread.join()
            state.close()


def until(condition, wait_s=30.0):
    """Wait until a condition holds."""
    end = time.monotonic() + wait_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
