"""What an allocation asks of Slurm, and which jobs share one."""

import pytest

from leanformer.study.job import Job
from leanformer.study.packing import packed
from leanformer.study.slurm_options import batch_file, minutes, read_options


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (90, 90), ("90", 90), ("30:00", 30), ("1:30:00", 90), ("1-12", 36 * 60), ("1-12:30", 36 * 60 + 30),
        ("1-12:30:00", 36 * 60 + 30), ("0:30", 1), ("2:00:01", 121),
    ],
)  # fmt: skip
def test_time_limits_are_sbatchs_in_minutes(time, expected):
    assert minutes(time) == expected


def test_options_of_a_file_and_of_the_command_line_are_joined(tmp_path):
    file = tmp_path / "cluster.toml"
    file.write_text('partition = "gpu"\ngpus-per-node = 1\ntime = "4:00:00"\nsetup = ["module load cuda"]\n')
    assert read_options([str(file), "partition=long", "exclusive=true", "--mail-type=END"]) == {
        "partition": "long", "gpus_per_node": 1, "time": 240, "setup": ["module load cuda"], "exclusive": True,
        "mail_type": "END",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("no-such.toml", "--slurm no-such.toml: there is no such file; give a TOML file or key=value"),
        ("array=0-3", "--slurm array: leanformer sets this itself"),
        ("time=soon", "--slurm time=soon: write minutes"),
        ("time=0", "a time limit of at least a minute"),
    ],
)
def test_mistakes_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        read_options([given])


def test_the_batch_file_has_the_options_and_asks_to_be_requeued(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    (tmp_path / "srun").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    text = batch_file(tmp_path / "queue", {"time": 240, "partition": "gpu", "mail_type": "END"}, 3, 24)
    lines = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    expected = {"--array=0-23%3", "--time=240", "--partition=gpu", "--mail-type=END", "--requeue", "--signal=USR2@120"}
    assert expected <= set(lines)
    assert not (tmp_path / "queue").exists()


def jobs(tmp_path, *seconds):
    return [Job(name=str(number), directory=tmp_path, seconds=each) for number, each in enumerate(seconds)]


@pytest.mark.parametrize(
    ("seconds", "parallel", "workers", "sizes"),
    [
        ([60] * 4, 64, 0, [1, 1, 1, 1]),  # all may run at once
        ([60] * 8, 2, 0, [4, 4]),
        ([60] * 8, 3, 0, [3, 3, 2]),
        ([250] * 8, 2, 0, [2, 2, 2, 2]),  # no more than 600 seconds
        ([700] * 4, 2, 0, [1, 1, 1, 1]),
        ([0] * 4, 2, 0, [1, 1, 1, 1]),  # of unknown duration
        ([700] * 4, 64, 2, [1, 1, 1, 1]),
        ([250] * 8, 2, 2, [4, 4]),  # two at a time
    ],
)
def test_short_jobs_that_would_wait_share_an_allocation(tmp_path, seconds, parallel, workers, sizes):
    given = jobs(tmp_path, *seconds)
    packs = packed(given, parallel, workers)
    assert [job for pack in packs for job in pack] == given
    assert [len(pack) for pack in packs] == sizes
