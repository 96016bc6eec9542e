"""A candidate in a process of its own, which sleeps between its turns.

So its allocator, its treatment of denormal numbers and its compiled graphs are those of its users, and not another
candidate's. Only one process works at a time, since turns are requested one by one.
"""

from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any


class Process:
    """A process that calls `make`, a function of a module, with `arguments`; the function returned takes the turns."""

    def __init__(self, make: Callable[..., Callable[..., float]], *arguments: Any) -> None:
        context = get_context("spawn")  # a fork would inherit this process's memory settings and threads
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, arguments), daemon=True)
        self._process.start()
        other.close()

    def __call__(self, *asked: Any) -> float:
        """Returns what a turn returns; raises a one-line RuntimeError if it fails."""
        try:
            self._connection.send(asked)
            answer = self._connection.recv()
        except (EOFError, BrokenPipeError):
            self._process.join()
            raise RuntimeError(f"its process ended with status {self._process.exitcode}") from None
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def close(self) -> None:
        self._connection.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.terminate()


def _serve(connection: Connection, make: Callable[..., Callable[..., float]], arguments: tuple[Any, ...]) -> None:
    turn = None
    with suppress(EOFError, BrokenPipeError):  # the parent process has ended
        while True:
            asked = connection.recv()
            answer: float | str
            try:
                turn = turn or make(*arguments)
                answer = turn(*asked)
            except Exception as error:
                answer = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            connection.send(answer)
