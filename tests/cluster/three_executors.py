"""One comparison of 24 runs on this machine, on a Slurm of two nodes and on a Ray of two: three equal reports.

    python -m tests.cluster.three_executors [--out docs/results/cluster]

On Slurm a node is killed, the controller is killed and started again, and a task is requeued; on Ray a node is removed.
The undisturbed runs go on meanwhile. The record, `executors.json`, says what was done when and which runs were begun
again, and holds the numbers of the reports. LEANFORMER_CLUSTER_STEPS sets the steps of a run.
"""

import argparse
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from leanformer.files import write_json
from leanformer.study.queue import Queue
from leanformer.version import __version__
from tests.cluster.comparisons import (
    ALL,
    SETTINGS,
    begun,
    comparison,
    numbers,
    on_this_machine,
    start,
    starts,
    wait_for,
    weights,
)

LIMIT = 1500.0
"""Seconds that a disturbed comparison may take."""


@dataclass
class Story:
    """What was done to a comparison, in seconds since its command was started."""

    began: float = field(default_factory=time.monotonic)
    events: list[dict[str, Any]] = field(default_factory=list)

    def tell(self, what: str, **more: object) -> None:
        self.events.append({"seconds": round(time.monotonic() - self.began, 1), "what": what, **more})


def on_slurm(data: Path, out: Path, slurm: Any, log: Path) -> Story:
    command = comparison(data, out, *ALL, "--executor", "slurm", "--slurm", "time=60", "--parallel", "4")
    story, process = Story(), start(command, log, slurm.environment)
    try:
        disturb_slurm(story, out, slurm, process)
        assert process.wait(LIMIT) == 0, log.read_text()
    finally:
        end(process)
    story.tell("report written")
    return story


def disturb_slurm(story: Story, out: Path, slurm: Any, process: Any) -> None:
    """Each node has a run in the middle when its turn comes."""
    wait_for(lambda: (runs_of("node2", out, slurm) and runs_of("node1", out, slurm)) or process.poll() is not None)
    story.tell("node2 killed", runs=runs_of("node2", out, slurm))
    slurm.kill("node2")
    slurm.restart_controller()
    story.tell("controller killed and started again")
    wait_for(lambda: runs_of("node1", out, slurm) or process.poll() is not None)
    story.tell("task of node1 requeued", runs=runs_of("node1", out, slurm))
    slurm.call("scontrol", "requeue", *task_of("node1", slurm))
    wait_for(lambda: "down" in slurm.call("sinfo", "--noheader", "--nodes=node2", "--format=%t"), 120)
    slurm.start("node2")
    story.tell("node2 started again")


def task_of(node: str, slurm: Any) -> list[str]:
    """Slurm's name of the array task that runs there. Its number alone may be that of the whole array."""
    return slurm.call(
        "squeue", "--noheader", "--array", f"--nodelist={node}", "--states=RUNNING", "--format=%i"
    ).split()


def runs_of(node: str, out: Path, slurm: Any) -> list[str]:
    """Runs in the middle of their training there."""
    names = task_of(node, slurm)
    running = begun(out)
    found = []
    for record, _ in Queue(out).records():
        for task, jobs in zip(record["tasks"], record["allocations"], strict=False):
            if task in names:
                found += [str(Path(directory).relative_to(out)) for directory in jobs.values()]
    return sorted(running.intersection(found))


def on_ray(data: Path, out: Path, log: Path) -> Story:
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 100_000_000, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
    try:
        nodes = [cluster.add_node(num_cpus=1, object_store_memory=100_000_000) for _ in range(2)]
        story = Story()
        command = comparison(data, out, *ALL, "--executor", "ray")
        process = start(command, log, os.environ | {"RAY_ADDRESS": cluster.address})
        try:
            wait_for(lambda: len(begun(out)) == 2 or process.poll() is not None)
            story.tell("a node removed, which had one of two runs", runs=sorted(begun(out)))
            cluster.remove_node(nodes[1], allow_graceful=False)
            assert process.wait(LIMIT) == 0, log.read_text()
        finally:
            end(process)
        story.tell("report written")
        return story
    finally:
        cluster.shutdown()


def end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        process.kill()
    process.wait()


def begun_again(out: Path) -> dict[str, int]:
    return {name: count for name, count in starts(out).items() if count != 1}


def described(stories: dict[str, Story], outs: dict[str, Path], slurm_version: str) -> dict[str, Any]:
    """The record; `outs` holds the directory of each executor's comparison."""
    local = outs["local"]
    libraries = {name: importlib.metadata.version(name) for name in ("submitit", "ray")}
    reports = {name: numbers(out) for name, out in outs.items()}
    return {
        "schema": 1,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {
            "leanformer": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "slurm": slurm_version,
            **libraries,
        },
        "cores": os.cpu_count(),
        "arguments": list(ALL),
        "settings": SETTINGS,
        "runs": len(weights(local)),
        "equal_weights": {name: weights(out) == weights(local) for name, out in outs.items()},
        "equal_reports": {name: reports[name] == reports["local"] for name in outs},
        "executors": {
            name: {"events": stories[name].events, "starts": sum(starts(out).values()), "begun_again": begun_again(out)}
            for name, out in outs.items()
        },
        "final_loss": {
            path: {name: report["runs"][path]["final_loss"] for name, report in reports.items()}
            for path in sorted(weights(local))
        },
    }


def main() -> None:
    from tests.cluster.conftest import no_slurm, slurm_of_two_nodes

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/cluster"))
    target = parser.parse_args().out
    if why := no_slurm():
        raise SystemExit(why)
    with tempfile.TemporaryDirectory(prefix="executors-") as place:
        folder = Path(place)
        data, local, slurm_out, ray_out = (folder / name for name in ("data", "local", "slurm", "ray"))
        cli = [sys.executable, "-m", "leanformer_cli"]
        subprocess.run([*cli, "prepare", "shipped:novels", "--out", data, "--algorithm", "characters"], check=True)
        stories = {"local": Story()}
        undisturbed = on_this_machine(data, local, ALL, folder / "local.log")
        with slurm_of_two_nodes() as slurm:
            stories["slurm"] = on_slurm(data, slurm_out, slurm, folder / "slurm.log")
            version = slurm.call("slurmctld", "-V").split()[-1]
        stories["ray"] = on_ray(data, ray_out, folder / "ray.log")
        assert undisturbed.wait(LIMIT) == 0, (folder / "local.log").read_text()
        record = described(stories, {"local": local, "slurm": slurm_out, "ray": ray_out}, version)
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / "executors.json", record)
    print(f"{target / 'executors.json'}: equal weights {record['equal_weights']}, reports {record['equal_reports']}")
    if not all([*record["equal_weights"].values(), *record["equal_reports"].values()]):
        raise SystemExit("the executors made different numbers")


if __name__ == "__main__":
    main()
