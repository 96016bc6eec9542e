"""What ends a command from outside, where Python would lose it."""

import os
import signal
import subprocess
import sys
import weakref

import pytest

from leanformer_cli.ending import Ended, listening

LOST = """
import os, signal, sys, time, weakref
from leanformer_cli.ending import listening

class Thing: ...

with listening():
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.{name}))
    print("ready", flush=True)
    del thing
    time.sleep(60)
    print("nothing ended it", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_that_comes_in_a_callback_of_the_collector_still_ends_the_command(name: str) -> None:
    """matplotlib drops many weak references: a report went on to its end, and printed a traceback."""
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + LOST.format(name=name)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "ready\n"
    assert "Exception ignored" not in done.stderr
    if name == "SIGINT":
        assert done.returncode == -signal.SIGINT and done.stderr.endswith("KeyboardInterrupt\n")
    else:
        assert (done.returncode, done.stderr) == (128 + getattr(signal, name), "")


def test_another_lost_exception_is_shown_as_python_does(capsys: pytest.CaptureFixture[str]) -> None:
    class Thing: ...

    before = sys.unraisablehook
    sys.unraisablehook = sys.__unraisablehook__
    try:
        with listening():
            thing = Thing()
            reference = weakref.ref(thing, lambda _: 1 / 0)
            del thing
            assert reference() is None
    finally:
        sys.unraisablehook = before
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_signal_raises_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        with pytest.raises(Ended) as ended, listening():
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended.value.code == 128 + signal.SIGUSR1
