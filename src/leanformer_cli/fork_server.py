"""A process that has PyTorch loaded and runs each command in a fork of itself, which starts in milliseconds.

Importing PyTorch and transformers takes some five seconds of a core, and a study runs dozens of short commands. The
study writes lines of JSON to one pipe and reads answers from another (`leanformer.study.forking`):

    {"number": 3, "arguments": ["pretrain", ...], "log": "logs/3.log"}    start this command
    {"number": 3, "signal": 15}                                           send it this signal
    {"number": 3, "status": 0}                                            answer: it has ended; -15 by signal 15

The process itself computes nothing and has touched no GPU, so a fork of it is as good as a fresh process. It ends when
the study does, and its forks save their work and end when it does.
"""

import ctypes
import json
import os
import select
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from leanformer_cli import main

END_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl: the signal that a process gets when its parent ends."""
LOADED = ("leanformer.interface.pretrain", "leanformer.interface.finetune", "torch._dynamo")
"""What is imported before the first fork; an optimizer imports the last one at its first step."""
FOR_THE_COMMANDS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
"""Signals that a terminal or a batch system sends to every process: the commands act on them, and then this one has
nothing left to do."""


class ForkServer:
    """Reads requests and answers them until the pipe of requests is closed and every command has ended."""

    def __init__(self, requests: int, answers: int) -> None:
        self.requests, self.answers = requests, answers
        self.children = dict[int, int]()
        """The number of the command of each process."""
        self.inherited = {name: signal.getsignal(getattr(signal, name)) for name in FOR_THE_COMMANDS}
        for name in FOR_THE_COMMANDS:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        self.woken, self.waker = os.pipe()

    def serve(self) -> dict[str, Any] | None:
        """Returns the request in each fork, and None in the server when it is done."""
        for end in (self.woken, self.waker):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        for request in self._received():
            process = next((process for process, number in self.children.items() if number == request["number"]), None)
            if "signal" not in request:
                if self._fork(request["number"]):
                    return request
            elif process is not None:  # it is not reaped before its answer is written, so the number is its own
                os.kill(process, request["signal"])
        while self.children:
            self._reap(0)
        return None

    def _received(self) -> Iterator[dict[str, Any]]:
        """The requests until their pipe is closed; commands that end meanwhile are reported."""
        rest = b""
        while True:
            ready, _, _ = select.select([self.requests, self.woken], [], [])
            if self.woken in ready:
                with suppress(BlockingIOError):
                    os.read(self.woken, 1024)
                while self.children and self._reap(os.WNOHANG):
                    pass
            if self.requests in ready:
                data = os.read(self.requests, 65536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                yield from map(json.loads, lines)

    def _fork(self, number: int) -> bool:
        """Whether this is the new process."""
        held = {getattr(signal, name) for name in FOR_THE_COMMANDS}
        signal.pthread_sigmask(signal.SIG_BLOCK, held)  # a signal to the new process waits for its handlers
        with warnings.catch_warnings():
            # Python warns of threads. NumPy's library of matrix products keeps some, and forks them rightly.
            warnings.simplefilter("ignore", DeprecationWarning)
            process = os.fork()
        if process:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
            self.children[process] = number
            return False
        ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGUSR1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for name, handler in self.inherited.items():
            signal.signal(getattr(signal, name), handler)
        for end in (self.requests, self.answers, self.woken, self.waker):
            os.close(end)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, held)
        return True

    def _reap(self, options: int) -> bool:
        """Report a command that has ended; whether there was one."""
        process, status = os.waitpid(-1, options)
        if not process:
            return False
        answer = {"number": self.children.pop(process), "status": os.waitstatus_to_exitcode(status)}
        with suppress(BrokenPipeError):  # the study is gone
            os.write(self.answers, json.dumps(answer).encode() + b"\n")
        return True


def become(request: dict[str, Any]) -> None:
    """Take the arguments and the log of the command; its standard input is the study's pipe already."""
    sys.argv = ["leanformer", *request["arguments"]]
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)


if __name__ == "__main__":
    server = ForkServer(*map(int, sys.argv[1:]))
    for module in LOADED:
        __import__(module)
    if request := server.serve():
        become(request)
        main()
