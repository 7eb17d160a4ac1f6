"""Ctrl-C during a run: the step that is under way is finished and saved, then the run stops."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from cign.errors import Interrupted

_SAVING = b"\ncign: interrupted: saving after this step, Ctrl-C again stops at once\n"


class Interrupts:
    """Holds back the first Ctrl-C until `asked` is looked at; the second one is not held back.

    Args:
        holds: False holds nothing back, as where several processes would have to agree.

    Attributes:
        asked: Whether there was one.
    """

    def __init__(self, *, holds: bool = True) -> None:
        self.asked, self._holds = False, holds

    @contextmanager
    def held_back(self, kept: Callable[[], str]) -> Iterator[None]:
        """Hold back what comes inside; outside the main thread nothing comes.

        A handler that is not Python's own stays: whoever set it decides, for example to ignore
        Ctrl-C in a process that its parent ends.

        Args:
            kept: Says what is kept of the work.

        Raises:
            Interrupted: In place of KeyboardInterrupt.
        """
        self.asked = False
        own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        holds = own and self._holds and threading.current_thread() is threading.main_thread()
        if holds:
            signal.signal(signal.SIGINT, self._note)
        try:
            yield
        except KeyboardInterrupt:
            raise Interrupted(kept()) from None
        finally:
            if holds:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    def leave_if_asked(self) -> None:
        """Stop, now that all is saved.

        Raises:
            KeyboardInterrupt: If it was asked for.
        """
        if self.asked:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, _SAVING)  # print could be interrupted in the middle of itself
