"""Where the jobs of a study run, as its user has asked."""

import pytest
import torch

from leanformer.study import execution
from leanformer.study.execution import Execution, Shard


@pytest.mark.parametrize(
    ("jobs", "omp", "threads", "share"),
    [
        (None, None, None, (6, 1)),
        (2, None, None, (2, 4)),
        (2, "3", None, (2, 3)),
        (None, "2", None, (6, 2)),
        (2, "3", 5, (2, 5)),
        (2, "4,2", None, (2, 4)),
        (2, "many", None, (2, 4)),
    ],
)
def test_threads_are_those_that_are_asked_for_or_the_cores_divided(jobs, omp, threads, share, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    monkeypatch.setattr(execution, "cores", lambda: 8)
    monkeypatch.setattr(execution, "visible_devices", lambda: [])
    assert Execution(jobs=jobs).share(6, threads) == share


def test_there_is_a_run_for_every_gpu(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(execution, "cores", lambda: 8)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert Execution().share(12, None) == (4, 2)
    assert Execution(jobs=8).share(12, None) == (8, 1)
    with pytest.raises(ValueError, match="--jobs must be at least 1"):
        Execution(jobs=0)


def test_a_shard_without_runs_has_a_share(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(execution, "cores", lambda: 8)
    monkeypatch.setattr(execution, "visible_devices", lambda: [])
    assert Execution().share(0, None) == (1, 8)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shards_are_disjoint_and_together_all(count):
    jobs = list("abcdefghijk")
    parts = [Shard(number, count).part(jobs) for number in range(1, count + 1)]
    assert sorted(job for part in parts for job in part) == jobs
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5"])
def test_a_shard_is_one_of_several(text):
    with pytest.raises(ValueError, match=f"--shard {text}: write I/N"):
        Execution.of(shard=text)
    assert Execution.of(shard=" 2 / 3").shard == Shard(2, 3)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"executor": "slrum"}, "--executor slrum: did you mean 'slurm'"),
        ({"slurm": ["partition=gpu"]}, "--slurm is for --executor slurm, not local"),
        ({"parallel": 4}, "on this machine it is --jobs"),
        ({"executor": "ray", "parallel": 0}, "--parallel must be at least 1"),
        ({"executor": "slurm", "shard": "1/2"}, "--shard and --executor slurm both divide the runs"),
    ],
)
def test_what_does_not_go_together_is_refused(asked, message):
    with pytest.raises(ValueError, match=message):
        Execution.of(**asked)


def test_threads_on_a_cluster_are_those_of_its_cpus(monkeypatch):
    """Not the cores of the login node."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert Execution.of("slurm", slurm=["cpus_per_task=8"]).share(100, None) == (64, 8)
    assert Execution.of("slurm", jobs=4, parallel=3, slurm=["cpus_per_task=8"]).share(100, None) == (12, 2)
    assert Execution.of("ray", parallel=3).share(100, None) == (3, 1)
    assert Execution.of("ray").share(5, 4) == (5, 4)
