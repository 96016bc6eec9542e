"""A candidate in a process of its own, asleep between its turns.

So its allocator, its treatment of denormal numbers and its compiled graphs are what its users have, and no other
candidate's. Only one process at a time is at work: turns are asked for one by one.
"""

from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any


class Process:
    """`make`, a function of a module, is called with `arguments` in the process; what it returns takes the turns."""

    def __init__(self, make: Callable[..., Callable[..., float]], *arguments: Any) -> None:
        context = get_context("spawn")  # a fork would inherit this process's memory settings and threads
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, make, arguments), daemon=True)
        self._process.start()
        other.close()

    def __call__(self, *asked: Any) -> float:
        """What a turn returns; RuntimeError of one line if it fails."""
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
    with suppress(EOFError, BrokenPipeError):  # nobody asks any more
        while True:
            asked = connection.recv()
            answer: float | str
            try:
                turn = turn or make(*arguments)
                answer = turn(*asked)
            except Exception as error:
                answer = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            connection.send(answer)
