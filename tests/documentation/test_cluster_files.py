"""The files for Kubernetes and SkyPilot: their own clients accept them, and their shards are all of N, each once."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from leanformer.study.execution import Shard

EXAMPLES = Path(__file__).parents[2] / "examples"


def kubernetes():
    return yaml.safe_load((EXAMPLES / "kubernetes.yaml").read_text())


def skypilot():
    return yaml.safe_load((EXAMPLES / "skypilot.yaml").read_text())


def pod():
    (container,) = kubernetes()["spec"]["template"]["spec"]["containers"]
    return [*container["command"], *container["args"]], kubernetes()["spec"]["completions"], {}


def node():
    count = skypilot()["num_nodes"]
    return ["bash", "-c", skypilot()["run"]], count, {"SKYPILOT_NUM_NODES": str(count)}


@pytest.mark.parametrize(("script", "variable"), [(pod, "JOB_COMPLETION_INDEX"), (node, "SKYPILOT_NODE_RANK")])
def test_the_machines_have_all_shards_and_none_twice(tmp_path, script, variable):
    """Run with a `leanformer` that prints its arguments: both systems count from 0, and shards from 1."""
    program = tmp_path / "leanformer"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    command, count, more = script()
    said = []
    for index in range(count):
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", variable: str(index), **more}
        said.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    shards = [Shard.parse(re.search(r"--shard (\S+)", line).group(1)) for line in said]
    assert shards == [Shard(number, count) for number in range(1, count + 1)]
    assert len({re.sub(r"--shard \S+", "", line) for line in said}) == 1
    assert all(line.startswith("compare ") and "--out /runs/comparison" in line for line in said)


def test_pods_share_the_volume_and_are_replaced_one_after_the_other():
    """Two pods of one index at a time would be two commands with one shard."""
    job = kubernetes()["spec"]
    (claim,), (container,) = job["template"]["spec"]["volumes"], job["template"]["spec"]["containers"]
    assert job["completionMode"] == "Indexed" and job["podReplacementPolicy"] == "Failed"
    assert [mount["name"] for mount in container["volumeMounts"]] == [claim["name"]]


def test_kubernetes_accepts_its_file():
    """By the schema of its API, in which unknown fields are errors."""
    client = pytest.importorskip("kubernetes_validate", reason="no client here: pip install kubernetes-validate")
    client.validate(kubernetes(), client.latest_version(), strict=True)
    wrong = kubernetes()
    wrong["spec"]["completionsMode"] = "Indexed"
    with pytest.raises(client.ValidationError):
        client.validate(wrong, client.latest_version(), strict=True)


def test_skypilot_accepts_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))  # where it keeps what it knows of clusters
    sky = pytest.importorskip("sky", reason="no client here: pip install skypilot")
    monkeypatch.chdir(EXAMPLES.parent)
    task = sky.Task.from_yaml(str(EXAMPLES / "skypilot.yaml"))
    assert (task.name, task.num_nodes) == ("comparison", skypilot()["num_nodes"])
    (resources,) = task.resources
    assert resources.accelerators == {"A100": 1}
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((EXAMPLES / "skypilot.yaml").read_text().replace("num_nodes", "nodes"))
    with pytest.raises(ValueError, match="nodes"):
        sky.Task.from_yaml(str(wrong))
