"""Shards of one comparison in one directory: together they are the comparison, and `status` shows how far it is."""

import json

import pytest

from leanformer.study.status import status


@pytest.fixture(scope="module")
def arguments(data, tiny):
    return ["compare", "--data", data, "--attention", "dot_product,shared", "--seeds", "2", "--jobs", "1", *tiny]


def test_shards_in_any_order_make_what_one_command_makes(arguments, executor, command, tmp_path):
    ran, out, whole = executor(), tmp_path / "out", tmp_path / "whole"
    code, said, _ = command(*arguments, "--out", out, "--shard", "2/2")
    assert code == 0 and len(ran) == 2 and "report:" in said
    assert [row.state for row in status(out)].count("finished") == 2
    assert [row.state for row in status(out)].count("waiting") == 2
    code, listed, _ = command("status", out)
    assert code == 0 and "states: 2 finished, 2 waiting" in listed

    assert command(*arguments, "--out", out, "--shard", "1/2")[0] == 0
    assert len(ran) == len(set(ran)) == 4
    assert command(*arguments, "--out", whole)[0] == 0
    curves = [sorted((file.parent.name, file.parent.parent.name, _losses(file)) for file in place.rglob("curve.jsonl"))
              for place in (out, whole)]  # fmt: skip
    assert curves[0] == curves[1] and len(curves[0]) == 4

    before = len(ran)
    assert command(*arguments, "--out", out, "--shard", "1/2")[0] == 0
    assert len(ran) == before  # repeating a shard goes on with it, and it is finished


def _losses(curve):
    return [json.loads(line)["loss"] for line in curve.read_text().splitlines()]


def test_a_shard_of_another_comparison_is_refused(arguments, executor, command, tmp_path):
    executor()
    assert command(*arguments, "--out", tmp_path, "--shard", "1/2")[0] == 0
    code, _, error = command(*arguments, "--set", "training.learning_rate=1e-3", "--out", tmp_path, "--shard", "2/2")
    assert code == 2 and "learning_rate" in error


def test_status_needs_a_directory_with_runs(command, tmp_path):
    code, _, error = command("status", tmp_path)
    assert code == 2 and "holds no run yet" in error
    code, _, error = command("status", tmp_path / "nowhere")
    assert code == 2 and "no such directory" in error
