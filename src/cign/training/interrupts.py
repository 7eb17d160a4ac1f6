"""Ctrl-C during a run: the current step is finished and saved, then the run stops."""

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
    """Defers the first Ctrl-C until `asked` is checked; a second one interrupts at once.

    Args:
        holds: False defers nothing, for several processes, which would have to agree.

    Attributes:
        asked: Whether Ctrl-C was pressed.
    """

    def __init__(self, *, holds: bool = True) -> None:
        self.asked, self._holds = False, holds

    @contextmanager
    def held_back(self, kept: Callable[[], str]) -> Iterator[None]:
        """Defer interrupts inside the context; signals reach only the main thread.

        A handler other than Python's default is left in place, for example one that ignores Ctrl-C
        in a process that its parent terminates.

        Args:
            kept: Returns a clause about what is saved.

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
        """Stop after the state was saved.

        Raises:
            KeyboardInterrupt: If Ctrl-C was pressed.
        """
        if self.asked:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        os.write(2, _SAVING)  # print is not safe in a signal handler
