"""SIGINT and SIGTERM as a number the loop looks at between steps; the second signal acts at once."""

import signal
import threading
from types import FrameType
from typing import Any, Self


class Stopped(SystemExit):
    """A run left cleanly because a signal asked it to; `code`, the exit status, is 128 + signal."""

    def __init__(self, number: int, step: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number).name
        self.step = step


class Interrupts:
    """Within its context, `signal` is 0 or the number of the signal that came. Only the main thread can listen."""

    def __init__(self) -> None:
        self.signal = 0
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
        self.signal = number
        signal.signal(number, self._before[number])
