"""One pre-training on several processes and nodes: torchrun restarts it after a death, and the curve is undisturbed."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from torch.testing import assert_close

from tests.cluster.conftest import wait_for

pytestmark = pytest.mark.cluster

EVERY = 25
"""Steps between checkpoints."""
SETTINGS = {
    **{f"model.{key}": size for key, size in (("hidden_size", 32), ("intermediate_size", 64))},
    **{"model.num_hidden_layers": 2, "model.num_attention_heads": 2, "model.max_position_embeddings": 32},
    **{"model.hidden_dropout_prob": 0.0, "model.attention_probs_dropout_prob": 0.0},
    **{"training.sequence_length": 32, "training.batch_size": 16, "training.max_steps": 600, "training.threads": 1},
    **{"training.checkpoint_every": EVERY, "training.keep_checkpoints": 99, "training.log_every": 5},
    **{"training.validate_every": 100, "training.validation_sequences": 8, "training.score_targets": 512},
    **{"training.learning_rate": 1e-3, "training.precision": "fp32"},
}


def pretraining(data: Path, out: Path, *more: str) -> list[str]:
    settings = [argument for key, value in SETTINGS.items() for argument in ("--set", f"{key}={value}")]
    return [
        "-m",
        "leanformer_cli",
        "pretrain",
        "--data",
        str(data),
        "--out",
        str(out),
        "--autoresume",
        *settings,
        *more,
    ]


def torchrun(processes: int, *options: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", *options]


def started(command: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        given = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""} | environment
        given["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"  # docs/cluster.md says why
        return subprocess.Popen(command, env=given, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)


@pytest.fixture
def launch() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts commands whose processes are gone when the test ends."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
        processes.append(started(command, log, **environment))
        return processes[-1]

    yield start
    for process in processes:
        for pid in [*descendants(process.pid), process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(30)


def descendants(pid: int) -> list[int]:
    with suppress(OSError):
        children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [each for child in children for each in (child, *descendants(child))]
    return []


def workers(launcher: subprocess.Popen[bytes]) -> dict[int, int]:
    """{rank: pid}"""
    found = {}
    for pid in descendants(launcher.pid):
        with suppress(OSError, KeyError):
            given = dict(each.split(b"=", 1) for each in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if each)
            if b"leanformer_cli" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.setdefault(int(given[b"RANK"]), pid)
    return found


def curve(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def last_step(run: Path) -> int:
    """Returns the last step in the curve, 0 before there is one."""
    with suppress(OSError, ValueError, IndexError):
        return int(json.loads((run / "curve.jsonl").read_text().splitlines()[-1])["step"])
    return 0


def checkpoints(run: Path) -> dict[int, int]:
    """{step: nanoseconds of its last change}"""
    folders = (run / "checkpoint").glob("step-*")
    return {int(folder.name.removeprefix("step-")): (folder / "state.json").stat().st_mtime_ns for folder in folders}


def require_same(run: Path, alone: Path) -> None:
    lines, others = curve(run), curve(alone)
    assert len(lines) == len(others) > 100
    for line, other in zip(lines, others, strict=True):
        assert_close(line, other, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def alone(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on one process, which nobody disturbs."""
    out = tmp_path_factory.mktemp("alone") / "run"
    log = out.with_name("log")
    assert started([sys.executable, *pretraining(data, out)], log).wait(600) == 0, log.read_text()
    return out


@pytest.mark.parametrize(("processes", "sharding"), [(2, "none"), (4, "none"), (2, "fsdp2"), (4, "fsdp2")])
def test_after_a_killed_worker_the_others_go_on_from_the_last_checkpoint(
    processes: int, sharding: str, launch: Any, data: Path, tmp_path: Path, alone: Path
) -> None:
    """The last worker is killed, later the first one, which writes the records and holds the lock."""
    run, log = tmp_path / "run", tmp_path / "log"
    options = ["--standalone", "--max-restarts=3"]
    launcher = launch(
        [*torchrun(processes, *options), *pretraining(data, run, "--set", f"training.sharding={sharding}")], log
    )
    kept: dict[int, int] = {}
    for rank, step in ((processes - 1, 110), (0, 330)):
        wait_for(lambda step=step: last_step(run) >= step or launcher.poll() is not None)
        assert launcher.poll() is None, log.read_text()
        os.kill(workers(launcher)[rank], signal.SIGKILL)
        reached, before = last_step(run), checkpoints(run)
        assert reached - max(before) <= EVERY + 5, "a line of the curve every 5 steps"
        kept |= {at: changed for at, changed in before.items() if at <= max(before) - EVERY}
    assert launcher.wait(600) == 0, log.read_text()
    require_same(run, alone)
    after = checkpoints(run)
    assert {step: after[step] for step in kept} == kept, "no step before the last checkpoint was done again"


@dataclass
class Node:
    """A machine of its own, as far as the network goes: a network namespace."""

    name: str
    address: str
    interface: str

    def torchrun(self, host: bool) -> list[str]:
        rendezvous = f"is_host={int(host)},last_call_timeout=5,read_timeout=120"
        options = ["--nnodes=1:2", "--max-restarts=5", "--rdzv-backend=c10d", "--rdzv-endpoint=10.77.0.1:29555"]
        options += ["--rdzv-id=test", f"--rdzv-conf={rendezvous}", f"--local-addr={self.address}"]
        return ["ip", "netns", "exec", self.name, *torchrun(1, *options)]

    def kill(self) -> None:
        """As if the machine had lost its power."""
        pids = subprocess.run(["ip", "netns", "pids", self.name], check=True, capture_output=True, text=True).stdout
        for pid in pids.split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    if os.geteuid() or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    made = [Node(f"lean-{os.getpid()}-{i}", f"10.77.0.{i}", f"lean{os.getpid() % 10_000}v{i}") for i in (1, 2)]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        try:
            for node in made:
                ip("netns", "add", node.name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
        ip("link", "add", made[0].interface, "type", "veth", "peer", "name", made[1].interface)
        for node in made:
            ip("link", "set", node.interface, "netns", node.name)
            ip("-n", node.name, "addr", "add", f"{node.address}/24", "dev", node.interface)
            ip("-n", node.name, "link", "set", node.interface, "up")
            ip("-n", node.name, "link", "set", "lo", "up")
        yield made
    finally:
        for node in made:
            with suppress(subprocess.CalledProcessError):  # it may not have come into being
                node.kill()
                ip("netns", "delete", node.name)


@pytest.mark.parametrize("sharding", ["none", "fsdp2"])
def test_a_dead_node_is_left_out_and_a_new_one_joins(
    sharding: str, launch: Any, data: Path, tmp_path: Path, alone: Path, nodes: list[Node]
) -> None:
    """Two nodes with equal host names, so the first one is named the host of the rendezvous."""
    run, logs = tmp_path / "run", [tmp_path / "log-1", tmp_path / "log-2"]
    command = pretraining(data, run, "--set", f"training.sharding={sharding}")

    def start(i: int) -> subprocess.Popen[bytes]:
        return launch([*nodes[i].torchrun(host=i == 0), *command], logs[i], GLOO_SOCKET_IFNAME=nodes[i].interface)

    def reached(step: int) -> None:
        wait_for(lambda: last_step(run) >= step or first.poll() is not None)
        assert first.poll() is None, logs[0].read_text()

    first, second = start(0), start(1)
    reached(60)
    assert json.loads((run / "run.json").read_text())["hardware"]["processes"] == 2
    nodes[1].kill()
    second.wait(30)
    before = checkpoints(run)
    wait_for(lambda: max(checkpoints(run)) > max(before) or first.poll() is not None)
    legs = json.loads((run / "run.json").read_text())["resumed"]
    assert legs[-1]["hardware"]["processes"] == 1
    second = start(1)
    assert first.wait(600) == 0, logs[0].read_text()
    assert second.wait(60) == 0, logs[1].read_text()
    require_same(run, alone)
    after = checkpoints(run)
    assert {step: after[step] for step in before} == before, "no step before the last checkpoint was done again"


def batch_file(data: Path, run: Path, folder: Path) -> Path:
    """The one of the documentation, with this machine's sizes, whose nodes are two names of one host."""
    page = (Path(__file__).parents[2] / "docs" / "distributed.md").read_text()
    text = page[page.index("#!/bin/bash") :].partition("```")[0]
    own = {
        "#SBATCH --gpus-per-node=8\n": "",
        "--cpus-per-task=32": "--cpus-per-task=1",
        '$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)': "127.0.0.1",
        "exec torchrun": f"exec {shlex.join(torchrun(1))}",
        "--nproc-per-node 8 ": "",
        "-m leanformer_cli pretrain CONFIG.toml --data DATA --out RUN --autoresume": shlex.join(pretraining(data, run)),
    }
    for documented, here in own.items():
        assert text.count(documented) == 1, documented
        text = text.replace(documented, here)
    path = folder / "pretrain.sbatch"
    path.write_text(text)
    return path


def end_all(run: Path) -> None:
    """End the processes of a run that a test leaves behind."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ProcessLookupError):
            if str(run).encode() in (process / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


def kill_node(slurm: Any, name: str) -> None:
    """As if the machine had lost its power; the other node has a part of the same job, which stays."""
    found = [int((slurm.folder / f"slurmd-{name}.pid").read_text())]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            given = (process / "environ").read_bytes().split(b"\0")
            if {f"SLURMD_NODENAME={name}".encode(), f"SLURM_CONF={slurm.folder}/slurm.conf".encode()} <= set(given):
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                daemon = Path(f"/proc/{parent}/cmdline").read_bytes().startswith(b"slurmstepd: ")
                found += [parent, int(process.name)] if daemon else [int(process.name)]
    for number in found:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def test_the_batch_file_of_the_page_is_requeued_and_goes_on(
    slurm: Any, data: Path, tmp_path: Path, alone: Path, request: pytest.FixtureRequest
) -> None:
    """First by the signal before the end of its time, then by the death of a node."""
    run, log = tmp_path / "run", tmp_path / "log"
    command = ["sbatch", "--parsable", f"--output={log}", str(batch_file(data, run, tmp_path))]
    job = slurm.call(*command).strip()
    request.addfinalizer(lambda: end_all(run))

    def state() -> str:
        return slurm.call("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()

    def reached(step: int) -> None:
        wait_for(lambda: last_step(run) >= step, 240)

    reached(60)
    slurm.call("scancel", "--signal=USR1", "--batch", job)
    wait_for(lambda: state() == "PENDING", 60)
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["hardware"]["processes"]) == ("stopped", 2), log.read_text()
    before = checkpoints(run)
    assert max(before) >= last_step(run) >= 60
    slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now")
    reached(max(before) + 2 * EVERY)
    kill_node(slurm, "node2")
    wait_for(lambda: state() == "PENDING", 120)
    # A Slurm without this fixture's short life of credentials waits two minutes, in which the old step ends.
    slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now+45")
    slurm.start("node2")
    wait_for(lambda: state() in ("COMPLETED", "FAILED"), 400)
    assert state() == "COMPLETED", log.read_text()
    require_same(run, alone)
    after = checkpoints(run)
    assert {step: after[step] for step in before} == before, "no step before the last checkpoint was done again"
