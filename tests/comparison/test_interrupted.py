"""A comparison that is told to stop lets its runs save their work; --resume then ends as if nothing had happened."""

import json
import signal
import subprocess
import sys
import time


def start(log, *arguments):
    command = [sys.executable, "-m", "leanformer_cli", "compare", *map(str, arguments)]
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)


def wait_for(condition, process, log):
    while not condition() and process.poll() is None:
        time.sleep(0.05)
    assert condition(), log.read_text()


def final_losses(out):
    return {run["path"]: run["final_loss"] for run in json.loads((out / "results.json").read_text())["runs"]}


def test_a_stopped_comparison_resumes_to_the_same_end(data, tiny, tmp_path):
    common = ["--data", data, "--attention", "dot_product,shared", "--seeds", "1", "--jobs", "2", *tiny]
    common += ["--set", "training.max_steps=400", "--set", "training.validate_every=400"]
    log = tmp_path / "log"
    assert start(log, *common, "--out", tmp_path / "whole").wait() == 0, log.read_text()

    out = tmp_path / "stopped"
    process = start(log, *common, "--out", out)
    wait_for(lambda: sum(file.stat().st_size > 0 for file in out.glob("runs/*/seed-1/curve.jsonl")) == 2, process, log)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    statuses = [json.loads(file.read_text())["status"] for file in out.glob("runs/*/seed-1/run.json")]
    assert statuses == ["stopped", "stopped"]

    assert start(log, *common, "--out", out, "--resume").wait() == 0, log.read_text()
    assert final_losses(out) == final_losses(tmp_path / "whole")
