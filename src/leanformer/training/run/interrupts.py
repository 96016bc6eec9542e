"""The signals that ask a run to end, as a number that the loop reads between steps.

    SIGINT, SIGTERM     sent by a person or a batch system
    SIGHUP              sent when the terminal is closed or an ssh connection ends
    SIGUSR1, SIGUSR2    a batch system's warning that the time is nearly up
    SIGXCPU             sent at the limit of CPU time

If one of the last four is ignored, as SIGHUP is under nohup, it stays ignored. Windows has only the first two.
"""

import os
import signal
import stat
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import Any, Self

ASKED = (signal.SIGINT, signal.SIGTERM)
WARNED = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU") if hasattr(signal, name))


class Stopped(SystemExit):
    """Raised when a run has stopped cleanly after a signal; `code`, the exit status, is 128 + signal."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number).name
        self.step = step


def leave_closed_terminal() -> None:
    """Discard further output to a terminal that is gone, since an error would keep a run from saving."""
    for descriptor in (1, 2):
        with suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


class Interrupts:
    """A context in which `signal` is 0 or the number of the received signal. Only the main thread can receive signals.

    A second SIGINT or SIGTERM acts at once if it comes at least a second later: the first one may come twice, from the
    terminal and from a launcher that forwards it. The others may come repeatedly (SIGXCPU comes every second).
    """

    def __init__(self) -> None:
        self.signal = 0
        self._asked: float | None = None
        """The time of the first SIGINT or SIGTERM."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (*ASKED, *WARNED):
                if number in ASKED or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note) or signal.SIG_DFL
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == getattr(signal, "SIGHUP", None):
            leave_closed_terminal()
        self.signal = self.signal or number
        if number not in ASKED:
            return
        if self._asked is None:
            self._asked = time.monotonic()
        elif time.monotonic() > self._asked + 1:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
