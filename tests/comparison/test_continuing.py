"""A comparison is one process's, and is made of runs of one plan."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import leanformer_cli
from leanformer.locks import claimed
from leanformer.training.run.record import RunDirectory


@pytest.fixture(scope="module")
def whole(data, tiny, tmp_path_factory):
    """A finished comparison of one run, and its arguments but for --out."""
    arguments = ["compare", "--data", str(data), "--attention", "dot_product", "--seeds", "1", "--jobs", "1", *tiny]
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run([sys.executable, "-m", "leanformer_cli", *arguments, "--out", str(out), "--quiet"], check=True)
    return out, arguments


@pytest.fixture
def run(monkeypatch, capsys):
    def command(*arguments):
        """(status, standard output, standard error)"""
        monkeypatch.setattr(sys, "argv", ["leanformer", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            leanformer_cli.main()
        return (ended.value.code or 0, *capsys.readouterr())

    return command


def copied(whole: Path, out: Path) -> Path:
    shutil.copytree(whole, out)
    return out


def changed(run: Path, table: str, **values: object) -> None:
    record = RunDirectory(run).read()
    record["settings"][table] |= values
    RunDirectory(run).write(record)


def test_nothing_is_left_of_the_lock_and_autoresume_goes_on(whole, tmp_path, run):
    out = copied(whole[0], tmp_path / "out")
    assert not list(out.rglob(".*"))
    status, said, error = run(*whole[1], "--out", out, "--autoresume")
    assert (status, error) == (0, "") and "report:" in said
    status, _, error = run(*whole[1], "--out", out)
    assert status == 2 and "add --resume" in error


def test_two_at_once_are_one_too_many(whole, tmp_path, run):
    out = copied(whole[0], tmp_path / "out")
    with claimed(out):
        for option in ("--resume", "--autoresume"):
            status, _, error = run(*whole[1], "--out", out, option)
            assert status == 2 and error.startswith(f"leanformer: {out} is in use by process ")
    assert run(*whole[1], "--out", out, "--resume", "--dry-run")[0] == 0


@pytest.mark.parametrize("status", ["finished", "running"])
def test_a_run_of_other_settings_is_refused_by_name(whole, tmp_path, run, status):
    """Such a mixture is what two comparisons left that were started together before there was a lock."""
    out = copied(whole[0], tmp_path / "out")
    one = out / "runs/dot_product/seed-1"
    changed(one, "training", batch_size=3)
    RunDirectory(one).update(status=status)
    code, _, error = run(*whole[1], "--out", out, "--resume")
    assert code == 2
    assert error == (
        f"leanformer: {one} was made with training.batch_size = 3, not 4: repeat its settings, or give another --out\n"
    )


def test_a_setting_that_its_version_did_not_have_is_no_difference(whole, tmp_path, run):
    out = copied(whole[0], tmp_path / "out")
    one = out / "runs/dot_product/seed-1"
    record = RunDirectory(one).read()
    del record["settings"]["training"]["compile"]
    record["settings"]["training"]["threads"] = 7  # nor is how many threads there were
    RunDirectory(one).write(record)
    assert run(*whole[1], "--out", out, "--resume")[0] == 0


def test_a_signal_prints_the_command_that_goes_on(whole, tmp_path, run, monkeypatch):
    """Wherever it comes; here while the plan is made."""
    from leanformer.comparison import compare

    monkeypatch.setattr(compare, "matched", lambda *_: signal.raise_signal(signal.SIGTERM))
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever a test before this one has left there
    try:
        status, said, _ = run(*whole[1], "--out", tmp_path / "out")
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
    assert status == 143
    assert said.startswith("stopped by SIGTERM; continue with: leanformer compare --data ")
    assert said.endswith(f"--out {tmp_path / 'out'} --autoresume\n")
