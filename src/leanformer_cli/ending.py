"""How a command ends after a signal, or after the end of the process that started it.

A signal is raised as an exception, so that incomplete files are removed and locks are released. Training handles
signals itself (`leanformer.training.run.interrupts`), to save its work first.
"""

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType
from typing import Any

SIGNALS = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")

SOON = 0.01
"""The seconds before a lost signal is raised again."""


class Ended(SystemExit):
    """Raised when a `signal` ends the command; the exit status is 128 + its number."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number).name


@contextmanager
def listening() -> Iterator[None]:
    """A context in which a signal raises `Ended`, and so does the end of the parent process if that requested it.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored.
    """
    came = 0.0
    heard = list[int]()

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal came
        if came and number == signal.SIGTERM and time.monotonic() > came + 1:  # not an echo: end at once
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if not came:
            came = time.monotonic()
            raise Ended(number)

    def swallowed(unraisable: Any) -> None:
        """Raise a signal again after an exception that a callback of the garbage collector has lost."""
        nonlocal came
        ended = unraisable.exc_value
        if not isinstance(ended, Ended | KeyboardInterrupt):
            return hook(unraisable)
        came = 0.0
        number = signal.Signals[ended.signal] if isinstance(ended, Ended) else signal.SIGINT
        threading.Timer(SOON, os.kill, (os.getpid(), number)).start()

    hook, sys.unraisablehook = sys.unraisablehook, swallowed
    for name in SIGNALS if threading.current_thread() is threading.main_thread() else ():
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)
            heard.append(number)
    if (pipe := os.environ.get("LEANFORMER_LIFELINE")) and pipe == _standard_input():
        threading.Thread(target=_watch, name="lifeline", daemon=True).start()
        sys.stdin = open(os.devnull)  # noqa: SIM115  (readers find it empty, and do not wait)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number in heard:
            signal.signal(number, signal.SIG_DFL)


def _standard_input() -> str:
    try:
        found = os.fstat(0)
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def _watch() -> None:
    while os.read(0, 1024):
        pass
    print("leanformer: the process that started this one has ended: stopping", file=sys.stderr, flush=True)
    os.kill(os.getpid(), getattr(signal, "SIGUSR1", signal.SIGTERM))  # a second SIGTERM would not let it save


def continues(option: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A decorator of a verb that prints the command to continue with, with `option` added, if a signal ends the verb.

    It is not for verbs whose training prints this itself.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @wraps(verb)
        def carry_out(**given: Any) -> None:
            try:
                verb(**given)
            except (SystemExit, KeyboardInterrupt) as stop:
                status = stop.code if isinstance(stop, SystemExit) else 128 + signal.SIGINT
                if not isinstance(status, int) or status <= 128:
                    raise
                if status - 128 == getattr(signal, "SIGHUP", None):  # nobody could read it
                    raise SystemExit(status) from None
                if not (given.get("quiet") or given.get("as_json")):
                    print(_continuation(signal.Signals(status - 128).name, option), flush=True)
                raise SystemExit(status) from None

        return carry_out

    return decorate


def _continuation(name: str, option: str) -> str:
    arguments = sys.argv[1:]
    if option and not {option, "--resume"} & set(arguments):
        arguments = [*arguments, option]
    return f"stopped by {name}; continue with: {shlex.join(['leanformer', *arguments])}"
