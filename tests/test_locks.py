"""One process at a time; what is left of a dead one does not lock, whatever machine it was on."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from leanformer import locks
from leanformer.locks import claimed

HOLD = """
import runpy, sys, time
from pathlib import Path
with runpy.run_path(sys.argv[1])["claimed"](Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, locks.__file__, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_directory_is_for_one_process_and_holds_nothing_afterwards(tmp_path):
    out = tmp_path / "a" / "out"
    message = f"^{out} is in use by process [0-9]+ on .+: wait for it or stop it$"
    with claimed(out):
        with pytest.raises(FileExistsError, match=message), claimed(out):
            pytest.fail("entered")
        (out / "file").touch()
    assert [path.name for path in out.iterdir()] == ["file"]


def test_a_directory_that_was_made_for_nothing_goes(tmp_path):
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "out"):
        _ = 1 / 0
    assert not (tmp_path / "out").exists()


def test_a_living_process_is_named_and_a_killed_one_does_not_lock(tmp_path, holder):
    with pytest.raises(FileExistsError, match=f"in use by process {holder.pid} on "), claimed(tmp_path / "out"):
        pytest.fail("entered")
    holder.kill()
    holder.wait()
    assert (tmp_path / "out" / ".lock").exists()
    with claimed(tmp_path / "out"):
        pass
    assert not list((tmp_path / "out").iterdir())


def test_a_dying_process_is_waited_for(tmp_path, holder):
    with ThreadPoolExecutor(1) as other:
        ended = other.submit(lambda: (holder.kill(), holder.wait()))
        with claimed(tmp_path / "out", patience=60):
            assert ended.done()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a zombie passes for alive, and is refused")
def test_a_dead_process_that_nobody_waits_for_does_not_lock_for_ever(tmp_path, holder, monkeypatch):
    monkeypatch.setattr(locks, "LEASE", 0.5)
    lock = tmp_path / "out" / ".lock"
    holder.kill()
    while not locks._zombie(str(holder.pid)):
        pass
    lock.write_text(lock.read_text().replace("duration=60.0", "duration=0.5"))
    with claimed(tmp_path / "out"):
        pass


def foreign(folder: Path) -> Path:
    """The lock of a process on another machine, of which nothing is heard."""
    folder.mkdir()
    lock = folder / ".lock"
    lock.write_text(f"filelock/2\npid=7\nhost=elsewhere\nmode=lease\ntoken=abc\nduration={locks.LEASE!r}\n")
    return lock


def test_of_another_machine_s_process_its_silence_says_that_it_is_dead(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(locks, "LEASE", 0.5)
    foreign(tmp_path / "out")
    with claimed(tmp_path / "out"):
        pass
    assert "out is locked by process 7 on elsewhere: waiting for a sign of its life" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_another_machine_s_process_that_lives_keeps_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "LEASE", 3.0)  # long beside what a busy machine keeps a process waiting
    lock = foreign(tmp_path / "out")
    touch = "import os, sys, time\nwhile True: os.utime(sys.argv[1]); print('touched', flush=True); time.sleep(0.02)"
    with subprocess.Popen([sys.executable, "-c", touch, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None and other.stdout.readline()
            with pytest.raises(FileExistsError, match="in use by process 7 on elsewhere"), claimed(tmp_path / "out"):
                pytest.fail("entered")
        finally:
            other.kill()
    assert lock.exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    message = r"^cannot write to .*file/out .Not a directory.: choose another --out$"
    with pytest.raises(OSError, match=message), claimed(tmp_path / "file" / "out"):
        pytest.fail("entered")
