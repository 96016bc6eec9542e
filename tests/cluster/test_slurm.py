"""A comparison on a Slurm of two nodes ends as on one machine, whatever dies, and no run is started twice."""

import json
import os
import signal
import subprocess
from contextlib import contextmanager

import pytest

from tests.cluster.comparisons import (
    FOUR,
    begun,
    comparison,
    require_equal,
    start,
    starts,
    wait_for,
    weights,
)
from tests.cluster.three_executors import begun_again, on_slurm

pytestmark = pytest.mark.cluster
SLURM = ("--executor", "slurm", "--slurm", "time=60")


def test_a_dead_node_a_new_controller_and_a_requeue_change_nothing(slurm, data, local, tmp_path):
    """24 runs in four allocations."""
    out = tmp_path / "out"
    story = on_slurm(data, out, slurm, tmp_path / "log")
    require_equal(out, local)
    assert len(weights(out)) == 24
    disturbed = [run for event in story.events for run in event.get("runs", [])]
    assert len(disturbed) == 2 and 1 <= len(begun_again(out)) <= 2, "only a run that was disturbed is begun again"
    assert sum(starts(out).values()) <= 26


def test_the_queue_is_found_again_and_two_commands_start_nothing_twice(slurm, data, four, tmp_path):
    out, logs = tmp_path / "out", [tmp_path / "one", tmp_path / "two"]
    command = comparison(data, out, *FOUR, *SLURM, "--autoresume")
    both = [start(command, log, slurm.environment) for log in logs]
    wait_for(lambda: any(process.poll() is not None for process in both))
    (lost,) = [number for number, process in enumerate(both) if process.poll() is not None]
    assert both[lost].wait() == 2 and "is in use by process" in logs[lost].read_text()
    wait_for(lambda: begun(out))
    both[1 - lost].send_signal(signal.SIGKILL)
    both[1 - lost].wait()

    stat = subprocess.run(
        [*command[:3], "status", str(out), "--json"], env=slurm.environment, capture_output=True, text=True, check=True
    )
    states = {run["run"]: run["state"] for run in json.loads(stat.stdout)["runs"]}
    assert len(states) == 4 and "PENDING" in states.values()
    elsewhere = subprocess.run(
        comparison(data, out, *FOUR, "--resume", "--jobs", "1"), env=slurm.environment, capture_output=True, text=True
    )
    assert elsewhere.returncode == 2 and "go on with --executor slurm, or end them with scancel" in elsewhere.stderr

    assert start(command, logs[0], slurm.environment).wait(900) == 0, logs[0].read_text()
    require_equal(out, four)
    assert len(list((out / "queue").glob("*.json"))) == 1
    assert set(starts(out).values()) == {1}


def test_the_signal_before_the_time_limit_becomes_a_checkpoint(slurm, data, four, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    process = start(comparison(data, out, *FOUR, *SLURM), log, slurm.environment)
    wait_for(lambda: begun(out))
    for task in slurm.call("squeue", "--noheader", "--states=RUNNING", "--format=%A").split():
        slurm.call("scancel", "--signal=USR2", task)
    assert process.wait(900) == 0, log.read_text()
    require_equal(out, four)
    said = "".join(file.read_text() for file in (out / "queue").glob("*_log.out"))
    assert "Calling checkpoint method" in said and "Exiting gracefully" in said


def test_a_full_shared_disk_ends_with_a_reason_and_room_on_it_with_the_same_numbers(slurm, data, four, tmp_path):
    with small_disk(tmp_path / "disk", "8m") as disk:
        out, log = disk / "out", tmp_path / "log"
        process = start(comparison(data, out, *FOUR, *SLURM), log, slurm.environment)
        wait_for(lambda: begun(out))
        fill(disk / "filler")
        assert process.wait(900) == 2, log.read_text()
        assert "No space left on device" in log.read_text() and "Traceback" not in log.read_text()
        wait_for(lambda: not slurm.call("squeue", "--noheader").strip(), 120)
        (disk / "filler").unlink()
        again = start(comparison(data, out, *FOUR, *SLURM, "--resume"), log, slurm.environment)
        assert again.wait(900) == 0, log.read_text()
        require_equal(out, four)
        assert (
            subprocess.run(comparison(data, out, *FOUR, "--resume"), env=os.environ | {"PATH": "/nowhere"}).returncode
            == 0
        ), "once all has ended, the directory goes on without Slurm"


@contextmanager
def small_disk(place, size):
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(file):
    with file.open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
        while True:
            filler.write(bytes(4096))
