"""Whether the hub answers, asked once and briefly: its client tries again for half a minute."""

from __future__ import annotations

import os
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

# The hub answers such a request within a fraction of a second. The client's own variable for slow
# connections counts here, too.
TIMEOUT_VARIABLE = "HF_HUB_ETAG_TIMEOUT"
_TIMEOUT_S = 1.5
_REMEMBERED_S = 60.0


def hub_trouble() -> str:
    """Why the hub cannot be reached; empty if it can.

    In offline mode (``HF_HUB_OFFLINE``) nothing is asked and the answer is empty: the client then
    reads its cache and does not wait. The answer is remembered for a minute.
    """
    question = _question()
    return "" if question is None else question.answer()


def ask_ahead(backbone: str) -> None:
    """Ask while other modules are imported, where a backbone's name is one of the hub.

    Args:
        backbone: As given; folders and what ships with cign need no hub.
    """
    halves = backbone.partition("@")[0].split("+")
    if any("/" in half and not Path(half).exists() for half in (backbone, *halves)):
        _question()


class _Question:
    """A request that is under way in a thread: looking up a name knows no time limit."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._timeout_s = _timeout_s()
        self._answers: list[str] = []
        self._deadline_s = time.monotonic() + self._timeout_s
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        try:
            import huggingface_hub.utils as client

            hub: Any = client
            # With the proxy and the certificates that the client would use.
            hub.get_session().head(self._endpoint, timeout=self._timeout_s)
            self._answers.append("")  # whatever its status is, the hub is there
        except Exception as error:
            self._answers.append(str(error).strip().partition("\n")[0] or type(error).__name__)

    def answer(self) -> str:
        """Wait for the answer as long as there is time."""
        if not self._answers:
            self._thread.join(max(self._deadline_s - time.monotonic(), 0.0))
        late = f"no answer within {self._timeout_s:g} s, which {TIMEOUT_VARIABLE} can change"
        reason = self._answers[0] if self._answers else late
        return reason and f"{self._endpoint} cannot be reached: {reason}"


def _question() -> _Question | None:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return None
    return _asked(str(constants.ENDPOINT), int(time.monotonic() // _REMEMBERED_S))


@lru_cache(maxsize=2)
def _asked(endpoint: str, minute: int) -> _Question:
    del minute  # a later minute asks again
    return _Question(endpoint)


def _timeout_s() -> float:
    try:
        return max(float(os.environ[TIMEOUT_VARIABLE]), 0.1)
    except (KeyError, ValueError):
        return _TIMEOUT_S
