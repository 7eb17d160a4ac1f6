"""Fast check whether the hub is reachable; its client would retry for half a minute."""

from __future__ import annotations

import os
import threading
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

# The hub answers such a request within a fraction of a second. For slow connections, the client's
# own variable sets the timeout here too.
TIMEOUT_VARIABLE = "HF_HUB_ETAG_TIMEOUT"
_TIMEOUT_S = 1.5
_REMEMBERED_S = 60.0


def hub_trouble() -> str:
    """Why the hub is unreachable; empty if it is reachable.

    In offline mode (``HF_HUB_OFFLINE``) no request is sent and the result is empty: the client then
    reads its cache without waiting. The result is cached for a minute.
    """
    question = _question()
    return "" if question is None else question.answer()


def ask_ahead(backbone: str) -> None:
    """Start the check in the background, if a backbone is on the hub.

    Args:
        backbone: Name as given; folders and built-in backbones do not need the hub.
    """
    halves = backbone.partition("@")[0].split("+")
    if any("/" in half and not Path(half).exists() for half in (backbone, *halves)):
        _question()


class _Question:
    """A request in a thread, because name resolution has no timeout."""

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
            # Uses the client's proxy and certificates.
            hub.get_session().head(self._endpoint, timeout=self._timeout_s)
            self._answers.append("")  # any HTTP status means that the hub is reachable
        except Exception as error:
            self._answers.append(str(error).strip().partition("\n")[0] or type(error).__name__)

    def answer(self) -> str:
        """Wait for the answer until the deadline."""
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
    del minute  # part of the cache key: expires after a minute
    return _Question(endpoint)


def _timeout_s() -> float:
    try:
        return max(float(os.environ[TIMEOUT_VARIABLE]), 0.1)
    except (KeyError, ValueError):
        return _TIMEOUT_S
