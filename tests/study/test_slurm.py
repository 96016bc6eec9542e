"""What the executor of Slurm makes of Slurm's answers, which three small programs give here in its place."""

import pickle

import pytest

from leanformer.study import slurm
from leanformer.study.executor import JobFailed
from leanformer.study.job import Job
from leanformer.study.queue import Place, Queue
from leanformer.study.slurm import SlurmArray

pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
TAKES = """#!/bin/sh
comment=$(sed -n 's/.*--comment=//p' "$1" | tr -d "'\\"")
echo "7|RUNNING|$comment" > {folder}/queued
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """`programs(text)` sets what sbatch does; squeue prints the file `queued`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "queued").touch()

    def write(name, text):
        (folder / name).write_text(text.replace("{folder}", str(folder)))
        (folder / name).chmod(0o755)

    write("srun", "#!/bin/sh\n")
    write("squeue", "#!/bin/sh\ncat {folder}/queued\n")
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    for name, seconds in {"TICK": 0.02, "ASKING": 0.05, "LOST": 0.3}.items():
        monkeypatch.setattr(slurm, name, seconds)
    yield lambda text: write("sbatch", text)


@pytest.fixture
def jobs(tmp_path):
    return [Job(name=name, directory=tmp_path / "runs" / name, seconds=1.0) for name in "ab"]


def array(tmp_path):
    """All jobs in one allocation."""
    return SlurmArray(tmp_path, {}, parallel=1, workers=0)


def records(tmp_path):
    return [record for record, _ in Queue(tmp_path).records()]


def test_a_run_that_had_finished_when_its_task_died_is_done(tmp_path, programs, jobs):
    """Killed for want of memory, the task returns nothing; the next command asks Slurm about it no more."""
    programs(TAKES + "rm {folder}/queued; touch {folder}/queued; echo Submitted batch job 7\n")
    jobs[0].directory.mkdir(parents=True)
    (jobs[0].directory / "run.json").write_text('{"schema": 1, "status": "finished"}')
    with array(tmp_path) as executor:
        done, lost = [executor.submit(job) for job in jobs]
        assert done.result(60) is None
        with pytest.raises(JobFailed, match="task 7 left Slurm's queue and returned nothing"):
            lost.result(60)
    assert [record.get("ended") for record in records(tmp_path)] == [True]


@pytest.mark.parametrize("taken", [True, False])
def test_what_sbatch_refuses_is_forgotten_unless_slurm_has_it(tmp_path, programs, jobs, taken):
    """Its answer may be lost on the way."""
    programs((TAKES if taken else "#!/bin/sh\n") + "echo 'Socket timed out' >&2; exit 1\n")
    with array(tmp_path) as executor:
        futures = [executor.submit(job) for job in jobs]
        for future in futures:
            with pytest.raises(OSError, match="Slurm did not take the jobs: .*Socket timed out"):
                future.result(60)
    assert len(records(tmp_path)) == taken
    found = {job.name: Place("7", "RUNNING", str(job.directory)) for job in jobs}
    assert Queue(tmp_path).places() == (found if taken else {})


def test_a_disk_that_is_full_after_the_submission_loses_no_job(tmp_path, programs, jobs, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    programs(TAKES + "echo Submitted batch job 7\n")
    monkeypatch.setattr(Queue, "confirm", full)
    with array(tmp_path) as executor:
        futures = [executor.submit(job) for job in jobs]
        with pytest.raises(TimeoutError):
            futures[0].result(1)
        assert set(Queue(tmp_path).places()) == {"a", "b"}
        Queue(tmp_path).result("7").write_bytes(pickle.dumps(("success", {"a": None, "b": "no luck"})))
        assert futures[0].result(60) is None
        with pytest.raises(JobFailed, match="no luck"):
            futures[1].result(60)


def test_of_two_commands_at_once_one_follows_what_the_other_submits(tmp_path, programs, jobs):
    """A study that shares its directory with its own jobs does not hold it while they run."""
    programs(TAKES + "echo 7 >> {folder}/submitted; sleep 1; echo Submitted batch job 7\n")
    with array(tmp_path) as one, array(tmp_path) as two:
        futures = [executor.submit(job) for executor in (one, two) for job in jobs]
        with pytest.raises(TimeoutError):
            futures[-1].result(3)
        Queue(tmp_path).result("7").write_bytes(pickle.dumps(("success", {"a": None, "b": "no luck"})))
        for number, future in enumerate(futures):
            error = future.exception(60)
            assert (error is None) == (number in (0, 2)), error
    assert (tmp_path / "bin" / "submitted").read_text() == "7\n"
