"""SIGINT and SIGTERM as a number the loop looks at between steps."""

import signal
import threading
import time
from types import FrameType
from typing import Any, Self


class Stopped(SystemExit):
    """A run left cleanly because a signal asked it to; `code`, the exit status, is 128 + signal."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number).name
        self.step = step


class Interrupts:
    """Within its context, `signal` is 0 or the number of the signal that came. Only the main thread can listen.

    A second signal acts at once, if it comes a second later: the first one may come twice, from the terminal and from
    a launcher that passes it on.
    """

    def __init__(self) -> None:
        self.signal, self._came = 0, 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note) or signal.SIG_DFL
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.signal:
            self.signal, self._came = number, time.monotonic()
        elif time.monotonic() > self._came + 1:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
