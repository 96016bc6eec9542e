"""A comparison on a Slurm of two nodes ends as on one machine, whatever dies, and no run is started twice."""

import json
import signal
import subprocess

import pytest

from leanformer.files import sha256
from tests.cluster.conftest import comparison, wait_for

pytestmark = pytest.mark.cluster


def start(slurm, command, log):
    with log.open("ab") as file:
        return subprocess.Popen(command, env=slurm.environment, stdout=file, stderr=subprocess.STDOUT)


def models(out):
    return {file.parent.parent.relative_to(out): sha256(file) for file in out.glob("runs/*/*/model/model.safetensors")}


def losses(out):
    return {run["path"]: run["final_loss"] for run in json.loads((out / "results.json").read_text())["runs"]}


def begun(out):
    return [file for file in out.glob("runs/*/*/curve.jsonl") if file.stat().st_size]


def require_equal(out, local):
    assert len(models(local)) == 4
    assert models(out) == models(local)
    assert losses(out) == losses(local)


def test_a_dead_node_a_new_controller_and_a_requeue_change_nothing(slurm, data, local, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    more = ("--executor", "slurm", "--slurm", "time=60", "--parallel", "4")
    process = start(slurm, comparison(data, out, *more), log)
    wait_for(lambda: len(begun(out)) == 2)
    slurm.kill("node2")
    slurm.restart_controller()
    (task,) = slurm.call("squeue", "--noheader", "--nodelist=node1", "--states=RUNNING", "--format=%A").split()
    slurm.call("scontrol", "requeue", task)
    wait_for(lambda: "down" in slurm.call("sinfo", "--noheader", "--nodes=node2", "--format=%t"), 60)
    slurm.start("node2")
    assert process.wait(600) == 0, log.read_text()
    require_equal(out, local)
    starts = sum(file.read_text().count("\n--- ") + file.read_text().startswith("--- ") for file in out.glob("logs/*"))
    assert starts == 6, "two of the four runs were begun again"


def test_the_queue_is_found_again_and_two_commands_start_nothing_twice(slurm, data, local, tmp_path):
    out, logs = tmp_path / "out", [tmp_path / "one", tmp_path / "two"]
    command = comparison(data, out, "--executor", "slurm", "--slurm", "time=60", "--autoresume")
    both = [start(slurm, command, log) for log in logs]
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
    assert len(states) == 4 and "running" in states.values() and "PENDING" in states.values()
    elsewhere = subprocess.run(
        comparison(data, out, "--resume", "--jobs", "1"), env=slurm.environment, capture_output=True, text=True
    )
    assert elsewhere.returncode == 2 and "go on with --executor slurm, or end them with scancel" in elsewhere.stderr

    assert start(slurm, command, logs[0]).wait(600) == 0, logs[0].read_text()
    require_equal(out, local)
    assert len(list((out / "queue").glob("*.json"))) == 1
    assert all(file.read_text().count("--- ") == 1 for file in out.glob("logs/*"))


def test_the_signal_before_the_time_limit_becomes_a_checkpoint(slurm, data, local, tmp_path):
    out, log = tmp_path / "out", tmp_path / "log"
    process = start(slurm, comparison(data, out, "--executor", "slurm", "--slurm", "time=60"), log)
    wait_for(lambda: len(begun(out)) == 2)
    for task in slurm.call("squeue", "--noheader", "--states=RUNNING", "--format=%A").split():
        slurm.call("scancel", "--signal=USR2", task)
    assert process.wait(600) == 0, log.read_text()
    require_equal(out, local)
    said = "".join(file.read_text() for file in (out / "queue").glob("*_log.out"))
    assert said.count("Calling checkpoint method") == 2 and "Exiting gracefully" in said
