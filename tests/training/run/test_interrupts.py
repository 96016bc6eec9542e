import os
import pty
import signal
import sys
from types import SimpleNamespace

import pytest

from leanformer.training.run import interrupts
from leanformer.training.run.interrupts import Interrupts, Stopped


def test_a_signal_is_noted_and_the_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interrupts() as heard:
        assert heard.signal == 0
        signal.raise_signal(signal.SIGTERM)
        assert heard.signal == signal.SIGTERM
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_echo_is_ignored_and_a_second_signal_acts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(interrupts, "time", SimpleNamespace(monotonic=lambda: now))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt), Interrupts() as heard:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert heard.signal == signal.SIGINT
            now = 1.5
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_exit_status_says_which_signal() -> None:
    assert (Stopped(signal.SIGTERM, 7).code, Stopped(signal.SIGINT, 7).code) == (143, 130)


WARNINGS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU]


@pytest.mark.parametrize("number", WARNINGS)
def test_a_warning_is_noted_however_often_it_comes(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter((0.0, 2.0, 4.0))
    monkeypatch.setattr(interrupts, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with Interrupts() as heard:
            for _ in range(3):
                signal.raise_signal(number)
            assert heard.signal == number
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", WARNINGS)
def test_an_ignored_warning_stays_ignored(number: int) -> None:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Interrupts() as heard:
            signal.raise_signal(number)
            assert heard.signal == 0
    finally:
        signal.signal(number, before)


CLOSED = """
import os, sys
from rich.console import Console
from leanformer.training.run.interrupts import Interrupts
with Interrupts() as heard:
    print("ready", flush=True)
    while not heard.signal:
        pass
    Console().print("words to nobody")
os.write(int(sys.argv[1]), str(heard.signal).encode())
"""


def test_a_closed_terminal_is_a_signal_and_no_error() -> None:
    """As when an ssh connection ends: the terminal's processes get SIGHUP, and each word to it is an error."""
    heard, told = os.pipe()
    pid, terminal = pty.fork()
    if not pid:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.set_inheritable(told, True)
        os.execv(sys.executable, [sys.executable, "-c", CLOSED, str(told)])
    os.close(told)
    while b"ready" not in os.read(terminal, 1000):
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert os.read(heard, 10) == str(int(signal.SIGHUP)).encode()
    os.close(heard)
