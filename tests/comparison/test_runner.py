"""Jobs run a process each; a failed one is told apart and its last words are kept."""

from leanformer.comparison.runner import Job, last_line, run_jobs


def job(tmp_path, name, *arguments):
    return Job(name=name, arguments=arguments, log=tmp_path / "logs" / f"{name}.log")


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
    assert "no-such-verb" in last_line(failed[0].log)


def test_progress_is_the_last_whole_line_of_the_curve(tmp_path):
    curve = tmp_path / "curve.jsonl"
    watched = Job(name="x", arguments=(), log=tmp_path / "log", curve=curve, total=40)
    assert watched.fraction() == 0.0
    curve.write_text('{"step": 10}\n{"step": 20}\n{"st')
    assert watched.fraction() == 0.5
