"""Jobs run a process each; a failed one is told apart, with the reason, and all end with the process that runs them."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from leanformer.comparison.runner import Job, run_jobs

WAITING = (
    "import time, leanformer_cli.ending as ending\nwith ending.listening(): print('ready', flush=True); time.sleep(600)"
)


def job(tmp_path, name, *arguments, program=("-m", "leanformer_cli")):
    return Job(name=name, arguments=arguments, log=tmp_path / "logs" / f"{name}.log", program=program)


def ignore(running, done, failed):
    """Nobody watches."""


def test_failures_are_told_apart_from_successes(tmp_path):
    jobs = [job(tmp_path, "good", "--version"), job(tmp_path, "bad", "no-such-verb"), job(tmp_path, "fine", "--help")]
    most, seen = 0, []

    def watch(running, done, failed):
        nonlocal most
        most = max(most, len(running))
        seen[:] = [item.name for item in [*done, *failed]]

    failed = run_jobs(jobs, 2, watch)
    assert [item.name for item in failed] == ["bad"]
    assert sorted(seen) == ["bad", "fine", "good"]
    assert most <= 2
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
    assert run_jobs([one], 1, ignore) == {one: reason.format(one.log)}


def test_jobs_end_with_the_process_that_runs_them_however_it_ends(tmp_path):
    """And so does what they have started, which inherits the pipe."""
    script = tmp_path / "start.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\nfrom leanformer.comparison.runner import Job, run_jobs\n"
        f"code = {WAITING!r}\n"
        "outer = f'import subprocess, sys; subprocess.run([sys.executable, \"-c\", {code!r}])'\n"
        "jobs = [Job(name=n, arguments=(c,), log=Path(sys.argv[1]) / n, program=('-c',))"
        " for n, c in (('child', code), ('grandchild', outer))]\n"
        "run_jobs(jobs, 2, lambda *_: None)\n"
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
    pids = []

    def watch(running, done, failed):
        pids.extend(process.pid for process in running.values())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_jobs([job(tmp_path, "one", WAITING, program=("-c",))], 1, watch)
    with suppress(ProcessLookupError):
        os.kill(pids[0], 0)
        pytest.fail("still there")


def test_progress_is_the_last_whole_line_of_the_curve(tmp_path):
    curve = tmp_path / "curve.jsonl"
    watched = Job(name="x", arguments=(), log=tmp_path / "log", curve=curve, total=40)
    assert watched.fraction() == 0.0
    curve.write_text('{"step": 10}\n{"step": 20}\n{"st')
    assert watched.fraction() == 0.5
