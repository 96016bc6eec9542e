"""Jobs run a process each; a failed one is told apart, with the reason, and all end with the process that runs them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
from rich.console import Console

from leanformer.study.executor import JobFailed
from leanformer.study.job import Job
from leanformer.study.local import LocalProcesses
from leanformer.study.running import run_jobs

WAITING = (
    "import os, time, leanformer_cli.ending as ending\n"
    "with ending.listening(): print('ready', os.getpid(), flush=True); time.sleep(600)"
)


def job(tmp_path, name, *arguments, program=("-m", "leanformer_cli")):
    log = tmp_path / "logs" / f"{name}.log"
    return Job(name=name, directory=tmp_path / name, arguments=arguments, log=log, program=program)


def run(jobs, workers=1, **watching):
    return run_jobs(jobs, LocalProcesses(workers), Console(quiet=True), **watching)


def test_failures_are_told_apart_from_successes(tmp_path):
    jobs = [job(tmp_path, "good", "--version"), job(tmp_path, "bad", "no-such-verb"), job(tmp_path, "fine", "--help")]
    most, seen, futures = 0, [], []

    class Watched(LocalProcesses):
        def submit(self, job):
            futures.append(super().submit(job))
            return futures[-1]

    def watch(job, why, seconds):
        nonlocal most
        most = max(most, sum(future.running() for future in futures))
        seen.append(job.name)
        assert (why is None) == (job.name != "bad")

    failed = run_jobs(jobs, Watched(2), Console(quiet=True), ended=watch)
    assert [item.name for item in failed] == ["bad"]
    assert sorted(seen) == ["bad", "fine", "good"]
    assert 1 <= most <= 2
    assert "no-such-verb" in failed[jobs[1]]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "import os; os.kill(os.getpid(), 9)",
            "ended by SIGKILL (perhaps the machine ran out of memory), its log is {}",
        ),
        ("import os; os.kill(os.getpid(), 11)", "ended by SIGSEGV, its log is {}"),
        ("import sys; sys.exit(143)", "ended by SIGTERM, its log is {}"),
        ("import sys; sys.exit(3)", "exit status 3, its log is {}"),
        ("import sys; sys.exit('no such file')", "no such file"),
    ],
)
def test_the_reason_names_the_signal_and_the_log(tmp_path, code, reason):
    """Also when an earlier attempt has left its words in the log."""
    one = job(tmp_path, "one", code, program=("-c",))
    one.log.parent.mkdir()
    one.log.write_text("words of before\n")
    assert run([one]) == {one: reason.format(one.log)}


def test_jobs_end_with_the_process_that_runs_them_however_it_ends(tmp_path):
    """And so does what they have started, which inherits the pipe."""
    script = tmp_path / "start.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom rich.console import Console\nfrom leanformer.study.job import Job\n"
        "from leanformer.study.local import LocalProcesses\nfrom leanformer.study.running import run_jobs\n"
        f"code = {WAITING!r}\n"
        "outer = f'import subprocess, sys; subprocess.run([sys.executable, \"-c\", {code!r}])'\n"
        "place = Path(sys.argv[1])\n"
        "jobs = [Job(name=n, directory=place, arguments=(c,), log=place / n, program=('-c',))"
        " for n, c in (('child', code), ('grandchild', outer))]\n"
        "run_jobs(jobs, LocalProcesses(2), Console())\n"
    )
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    logs = [tmp_path / "child", tmp_path / "grandchild"]

    def all_say(words):
        end = time.monotonic() + 120
        while not all(log.exists() and words in log.read_text() for log in logs) and time.monotonic() < end:
            time.sleep(0.05)
        return all(words in log.read_text() for log in logs)

    assert all_say("ready")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert all_say("the process that started this one has ended: stopping")


def test_an_error_of_the_watcher_ends_the_jobs(tmp_path):
    long = job(tmp_path, "long", WAITING, program=("-c",))
    short = job(tmp_path, "short", "print()", program=("-c",))

    def watch(job, why, seconds):
        end = time.monotonic() + 120
        while not (long.log.exists() and "ready" in long.log.read_text()) and time.monotonic() < end:
            time.sleep(0.05)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run([long, short], 2, ended=watch)
    pid = int(long.log.read_text().rpartition("ready ")[2].split()[0])
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        pytest.fail("still there")


def test_a_future_alone_tells_the_end(tmp_path):
    good, bad = (job(tmp_path, name, f"import sys; sys.exit({status})", program=("-c",)) for name, status in
                 (("good", 0), ("bad", 3)))  # fmt: skip
    with LocalProcesses(1) as executor:
        futures = [executor.submit(each) for each in (good, bad)]
        assert futures[0].result() is None
        with pytest.raises(JobFailed, match="^exit status 3, its log is "):
            futures[1].result()


def test_who_waits_is_not_started_any_more(tmp_path):
    first, second = (job(tmp_path, name, WAITING, program=("-c",)) for name in ("first", "second"))
    with LocalProcesses(1) as executor:
        running, waiting = executor.submit(first), executor.submit(second)
        assert running.running() and not waiting.running()
    assert waiting.cancelled() and not second.log.exists()
    with pytest.raises(JobFailed, match="^ended by SIGTERM"):
        running.result(60)


@pytest.mark.parametrize(
    ("devices", "workers", "seen"),
    [(["0", "1"], 4, {"0": 2, "1": 2}), (["GPU-a"], 2, {"GPU-a": 4}), ([], 2, {"": 4})],
)
def test_jobs_take_turns_on_the_devices(tmp_path, monkeypatch, devices, workers, seen):
    """Four jobs at most two at a time per device; without devices the variable stays as it is."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    code = "import os; print('device', os.environ['CUDA_VISIBLE_DEVICES'])"
    jobs = [job(tmp_path, name, code, program=("-c",)) for name in "abcd"]
    assert run_jobs(jobs, LocalProcesses(workers, devices), Console(quiet=True)) == {}
    said = [each.log.read_text().splitlines()[-1].removeprefix("device").strip() for each in jobs]
    assert {name: said.count(name) for name in said} == seen


def test_a_device_that_is_free_again_is_taken(tmp_path):
    """The second job waits for the only place, and then finds the first device as free as the second one."""
    code = "import os; print('device', os.environ['CUDA_VISIBLE_DEVICES'])"
    jobs = [job(tmp_path, name, code, program=("-c",)) for name in "ab"]
    assert run_jobs(jobs, LocalProcesses(1, ["0", "1"]), Console(quiet=True)) == {}
    assert [each.log.read_text().splitlines()[-1] for each in jobs] == ["device 0", "device 0"]


def test_a_log_that_cannot_be_written_ends_all(tmp_path):
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(FileExistsError):
        run([job(tmp_path, "one", "--version")])


def test_progress_is_the_last_whole_line_of_the_curve(tmp_path):
    curve = tmp_path / "curve.jsonl"
    watched = Job(name="x", directory=tmp_path, steps=40)
    assert watched.fraction() == 0.0
    curve.write_text('{"step": 10}\n{"step": 20}\n{"st')
    assert watched.fraction() == 0.5
