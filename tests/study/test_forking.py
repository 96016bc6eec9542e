"""Commands as forks of one process: the same results as of processes of their own, and the same ends."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from leanformer.study.executor import JobFailed
from leanformer.study.forking import forks
from leanformer.study.job import Job
from leanformer.study.local import LocalProcesses
from leanformer.study.running import run_jobs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")

STUDY = """
import sys
from pathlib import Path
from rich.console import Console
from leanformer.study.job import Job
from leanformer.study.local import LocalProcesses
from leanformer.study.running import run_jobs
place = Path(sys.argv[1])
arguments = ("pretrain", *sys.argv[2:], "--out", str(place / "run"))
job = Job(name="run", directory=place / "run", arguments=arguments, log=place / "log")
run_jobs([job], LocalProcesses(1), Console())
"""


@pytest.fixture
def pretraining(tmp_path, data, tiny):
    """A job of so many steps."""

    def job(name, steps=3):
        arguments = ("pretrain", "--data", str(data), *tiny, "--set", f"training.max_steps={steps}")
        directory = tmp_path / name
        arguments = (*arguments, "--set", "training.threads=1", "--out", str(directory), "--quiet")
        return Job(name=name, directory=directory, arguments=arguments, log=tmp_path / "logs" / f"{name}.log")

    return job


def begun(directory):
    curve = directory / "curve.jsonl"
    end = time.monotonic() + 120
    while not (curve.exists() and curve.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    assert curve.read_text()


def test_a_fork_computes_what_a_process_of_its_own_computes(pretraining):
    forked, again, alone = pretraining("forked"), pretraining("again"), pretraining("alone")
    assert forks(forked)
    assert run_jobs([forked, again], LocalProcesses(1), Console(quiet=True)) == {}
    subprocess.run(alone.command, check=True)
    weights = [load_file(job.directory / "model" / "model.safetensors") for job in (forked, again, alone)]
    curves = [(job.directory / "curve.jsonl").read_text().splitlines() for job in (forked, again, alone)]
    losses = [[json.loads(line)["loss"] for line in curve if "loss" in line] for curve in curves]
    assert losses[0] == losses[1] == losses[2] and losses[0]
    for name, tensor in weights[2].items():
        assert torch.equal(weights[0][name], tensor) and torch.equal(weights[1][name], tensor), name


def test_the_reason_of_a_failure_is_what_the_command_said_last(tmp_path, pretraining):
    arguments = ("verify", str(tmp_path / "nothing"))
    bad = Job(name="bad", directory=tmp_path / "bad", arguments=arguments, log=tmp_path / "log")
    with LocalProcesses(1) as executor:
        wrong, right = executor.submit(bad), executor.submit(pretraining("right"))
        with pytest.raises(JobFailed, match="^leanformer: .*nothing"):
            wrong.result()
        assert right.result() is None


def test_leaving_ends_commands_after_they_have_saved(pretraining):
    long = pretraining("long", 100_000)
    with LocalProcesses(1) as executor:
        future = executor.submit(long)
        begun(long.directory)
    with pytest.raises(JobFailed, match="^ended by SIGTERM"):
        future.result(60)
    assert json.loads((long.directory / "run.json").read_text())["status"] == "stopped"


def test_a_killed_command_fails_alone_and_a_killed_server_is_replaced(pretraining):
    long, other = pretraining("long", 100_000), pretraining("other")
    with LocalProcesses(1) as executor:
        future = executor.submit(long)
        begun(long.directory)
        executor._running[long].send_signal(signal.SIGKILL)
        with pytest.raises(JobFailed, match="ended by SIGKILL"):
            future.result(60)
        orphan = executor.submit(pretraining("orphan", 100_000))
        begun(long.directory.with_name("orphan"))
        executor._server._process.kill()
        with pytest.raises(JobFailed, match="ended by SIGKILL"):
            orphan.result(60)
        assert executor.submit(other).result(120) is None
    record, end = long.directory.with_name("orphan") / "run.json", time.monotonic() + 60
    while json.loads(record.read_text())["status"] == "running" and time.monotonic() < end:
        time.sleep(0.05)
    assert json.loads(record.read_text())["status"] == "stopped", "a fork saves its work and ends with its server"


def test_commands_end_with_the_study_however_it_ends(tmp_path, data, tiny):
    steps = ["--set", "training.max_steps=100000", "--set", "training.threads=1"]
    study = subprocess.Popen([sys.executable, "-c", STUDY, str(tmp_path), "--data", str(data), *tiny, *steps])
    begun(tmp_path / "run")
    study.kill()
    study.wait()
    end = time.monotonic() + 120
    while "the process that started this one has ended" not in (tmp_path / "log").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_what_does_not_fork(tmp_path, monkeypatch):
    other = Job(name="x", directory=tmp_path, arguments=("pass",), program=("-c",))
    short = Job(name="x", directory=tmp_path, arguments=("--version",))
    run = Job(name="x", directory=tmp_path, arguments=("pretrain",))
    assert [forks(job) for job in (other, short, run)] == [False, False, True]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert not forks(run)
