"""Sharded over any number of processes, a run draws the curve of one process, its gradient norm included."""

import json
import os
import signal
from pathlib import Path
from typing import Any, cast

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from leanformer.settings import settings_from
from leanformer.training.objectives.protocol import TeacherProtocol
from leanformer.training.pretrain import pretrain

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
PLAN = {"max_steps": 19, "batch_size": 24, "micro_batch_size": None, "score_at": [2000], "score_targets": 64}


@pytest.fixture(scope="module")
def alone(fork_server: Any, settings: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    assert fork_server.run(out, settings(NO_DROPOUT, **PLAN)) == 0
    return out


def assert_same(run: Path, alone: Path, curve: Any) -> None:
    lines, others = curve(run), curve(alone)
    assert [line["step"] for line in lines] == [line["step"] for line in others] and len(lines) > 5
    for line, other in zip(lines, others, strict=True):
        assert "gradient_norm" in line
        assert_close(line, other, rtol=1e-6, atol=1e-6)
    record, expected = (json.loads((each / "run.json").read_text()) for each in (run, alone))
    assert record["status"] == "finished"
    for mine, other in zip(record["scores_at"], expected["scores_at"], strict=True):
        assert mine["scores"]["valid"]["loss"] == pytest.approx(other["scores"]["valid"]["loss"], abs=2e-6)
    assert json.loads((run / "model/config.json").read_text()) == json.loads((alone / "model/config.json").read_text())
    ours, theirs = (load_file(each / "model/model.safetensors") for each in (run, alone))
    assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def newest(run: Path) -> list[str]:
    return sorted(path.name for path in max((run / "checkpoint").glob("step-*")).iterdir())


@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize("micro_batch_size", [None, 3])
def test_sharded_processes_draw_the_curve_of_one(
    processes: int,
    micro_batch_size: int | None,
    fork_server: Any,
    settings: Any,
    tmp_path: Path,
    alone: Path,
    curve: Any,
) -> None:
    """Odd sizes: parts differ in size, and with 4 processes some have no row of a matrix of 7 or of a vector of 2."""
    run = tmp_path / "run"
    tables = settings(NO_DROPOUT, **PLAN | {"micro_batch_size": micro_batch_size}, sharding="fsdp2", keep_every=6)
    assert fork_server.run_many(processes, run, tables) == [0] * processes
    assert_same(run, alone, curve)
    parts = [f"shard-{i + 1:05d}-model-00001-of-00001.safetensors" for i in range(processes)]
    assert newest(run) == ["SHA256SUMS", *parts, "state.json"]
    assert sorted(p.name for p in (run / "kept").iterdir()) == ["step-12", "step-18", "step-6"]


@pytest.mark.parametrize(
    ("model", "training"),
    [
        ({"attention": "random+symmetric"}, {"activation_checkpointing": True}),
        ({"layer_sharing": "attention"}, {"lr_multipliers": {"tied_projections": 0.5}}),
        ({"attention": "phased", "layer_sharing": "all", "norm": "pre"}, {"clip_norm": 0.2}),
        (
            {
                "hidden_size": 28,
                "shared_heads": {"tie": "qkvo", "blocks": [[0, 1, 2, 3, 4, 5, 6], [0, 7, 2, 1, 8, 4, 9]]},
            },
            {},
        ),
        ({"embedding_size": 6, "biases": False, "qk_norm": True, "first_norm": False, "norm": "pre"}, {}),
    ],
)
def test_every_way_of_sharing_parameters_is_sharded(
    model: dict[str, Any], training: dict[str, Any], fork_server: Any, settings: Any, tmp_path: Path, curve: Any
) -> None:
    plan = PLAN | training
    assert fork_server.run(tmp_path / "one", settings(NO_DROPOUT | model, **plan)) == 0
    assert fork_server.run_two(tmp_path / "two", settings(NO_DROPOUT | model, **plan, sharding="fsdp2")) == [0, 0]
    assert_same(tmp_path / "two", tmp_path / "one", curve)


def test_muon_updates_whole_matrices(fork_server: Any, settings: Any, tmp_path: Path, curve: Any) -> None:
    """The first step's gradient norm is exact; later ones differ by Muon's rounding to bfloat16."""
    tables = settings(NO_DROPOUT, **PLAN, optimizer="muon", log_every=1)
    assert fork_server.run(tmp_path / "one", tables) == 0
    tables["training"]["sharding"] = "fsdp2"
    assert fork_server.run_many(4, tmp_path / "four", tables) == [0] * 4
    one, four = curve(tmp_path / "one"), curve(tmp_path / "four")
    assert_close(four[0], one[0], rtol=1e-6, atol=1e-6)
    for line, other in zip(four, one, strict=True):
        assert_close(line, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_begun_on_two_killed_and_continued_on_one_and_on_four(
    optimizer: str, fork_server: Any, settings: Any, tmp_path: Path, curve: Any
) -> None:
    plan = PLAN | {
        "max_steps": 40,
        "checkpoint_every": 5,
        "optimizer": optimizer,
        "keep_checkpoints": 9,
        "score_at": None,
    }
    alone, run = tmp_path / "alone", tmp_path / "run"
    assert fork_server.run(alone, settings(NO_DROPOUT, **plan)) == 0
    tables = settings(NO_DROPOUT, **plan, sharding="fsdp2")

    def killed(number: int, step: int, **options: Any) -> None:
        """One worker is killed, and the others end with it, as a launcher sees to."""
        pids = fork_server.start_many(number, run, tables, **options)
        fork_server.until((run / f"checkpoint/step-{step:08d}").exists, pids[-1])
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert [fork_server.wait(pid) for pid in pids] == [-signal.SIGKILL] * number

    killed(2, 10)
    killed(1, 20, resume=True)
    assert "model.safetensors" in newest(run)
    killed(4, 30, resume=True)
    assert fork_server.run_many(2, run, tables, resume=True) == [0, 0]
    tolerance = 1e-6 if optimizer == "adamw" else 1e-3
    for line, other in zip(curve(run), curve(alone), strict=True):
        assert_close(line, other, rtol=tolerance, atol=tolerance)


def test_a_damaged_part_is_refused_by_all_processes(fork_server: Any, settings: Any, tmp_path: Path) -> None:
    run, tables = tmp_path / "run", settings(NO_DROPOUT, **PLAN, sharding="fsdp2")
    pids = fork_server.start_many(2, run, tables)
    fork_server.until((run / "checkpoint/step-00000007").exists, pids[0])
    os.kill(pids[1], signal.SIGTERM)
    assert [fork_server.wait(pid) for pid in pids] == [143, 143]
    part = max((run / "checkpoint").glob("step-*")) / "shard-00002-model-00001-of-00001.safetensors"
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    for number in (1, 2):
        assert fork_server.run_many(number, run, tables, resume=True) == [2] * number
        last = Path(f"{run}.log").read_text().splitlines()[-number:]
        assert all(line.startswith(f"error: {part} is damaged") for line in last), last


def test_a_full_disk_on_one_process_spares_the_checkpoint_before(
    fork_server: Any, settings: Any, tmp_path: Path
) -> None:
    run, tables = tmp_path / "run", settings(NO_DROPOUT, **PLAN, sharding="fsdp2")
    pids = fork_server.start_many(2, run, tables)
    fork_server.until((run / "checkpoint/step-00000007").exists, pids[0])
    os.kill(pids[1], signal.SIGTERM)
    assert [fork_server.wait(pid) for pid in pids] == [143, 143]
    before = sorted((run / "checkpoint").iterdir())
    size = (before[-1] / "shard-00001-model-00001-of-00001.safetensors").stat().st_size
    assert fork_server.run_many(2, run, tables, resume=True, file_limit=size // 2, fatal=False) == [2, 2]
    assert sorted((run / "checkpoint").iterdir()) == before
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    assert f"{before[-1].name} is intact: free disk space" in Path(f"{run}.log").read_text()
    assert fork_server.run_many(2, run, tables, resume=True) == [0, 0]


def test_a_teacher_and_shards_are_refused_together(settings: Any, corpus: Path, tmp_path: Path) -> None:
    chosen, teacher = settings_from(settings(sharding="fsdp2")), cast(TeacherProtocol, object())
    with pytest.raises(ValueError, match="^training.sharding = 'fsdp2': not supported by distill, leave it out$"):
        pretrain(chosen, corpus, tmp_path / "run", teacher=teacher, quiet=True)
    assert not (tmp_path / "run").exists()
