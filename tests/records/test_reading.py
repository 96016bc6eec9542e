"""A record that is whole comes back as it was written; any other is refused with its place and what to do."""

import json
from pathlib import Path
from typing import Any

import pytest

from leanformer.records import reading, studies
from leanformer.records.models import WeightIndex
from leanformer.records.run import CurveLine, Pretraining, Run

RESULTS = Path(__file__).parents[2] / "docs" / "results"
RECORD = {"schema": 1, "kind": "pretrain", "seed": 3, "results": {"final_loss": 1.5, "tokens": 12, "more": [1, None]}}


def written(tmp_path: Path, record: Any) -> Path:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(record))
    return path


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    assert reading.read(written(tmp_path, reading.sealed(RECORD)), Run, "restore it") == RECORD
    assert reading.read(written(tmp_path, RECORD), Run, "restore it") == RECORD, "an old one has no checksum"


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"more": 1}, {"results": None}, {"results": {"final_loss": 1.5000001}}]
)
def test_an_edit_is_noticed_where_the_value_looks_right(tmp_path: Path, change: dict[str, Any]) -> None:
    path = written(tmp_path, reading.sealed(RECORD) | change)
    with pytest.raises(ValueError, match=r"run.json is damaged \(it is not what was written, by its checksum\)"):
        reading.read(path, Run, "restore it")


def test_the_checksum_does_not_depend_on_the_order_of_the_keys(tmp_path: Path) -> None:
    sealed = reading.sealed({"a": (1, 2), "b": {"d": float("nan"), "c": "é"}})
    path = written(tmp_path, dict(reversed(sealed.items())))
    assert reading.read(path, reading.Record, "restore it")["a"] == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expecting value"),
        ("[1]", "no table of names and values"),
        ("[" * 100_000, "nested too deeply"),
        ('{"seed": ' + "9" * 5000 + "}", "digits"),
        ('{"schema": 2}', "has schema 2, known here is 1: use a matching leanformer"),
        ('{"seed": "3"}', "seed = '3': input should be a valid integer"),
        ('{"seed": true}', "seed = True: input should be a valid integer"),
        ('{"results": {"tokens": [1]}}', r"results.tokens = \[1\]: input should be a valid number"),
        ('{"results": {"validations": [[1, 2], [3]]}}', r"results.validations.1 = \[3\]: list should have at least 2"),
        ('{"results": 3}', "results = 3: "),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        reading.read(path, Run, "restore it")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b'{"kind": "\xff"}')
    with pytest.raises(ValueError, match="run.json is damaged .*utf-8"):
        reading.read(tmp_path / "run.json", Run, "restore it")


def test_lines_are_read_up_to_one_that_was_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "curve.jsonl"
    file.write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "loss": NaN}\n{"step": 3, "lo')
    first, second = reading.read_lines(file, CurveLine, "restore it")
    assert first == {"step": 1, "loss": 2.5} and second["loss"] != second["loss"]
    file.write_text('{"step": 1}\n{"step": -2}\n')
    with pytest.raises(ValueError, match=r"curve.jsonl, line 2, is damaged \(step = -2: .*\): restore it"):
        list(reading.read_lines(file, CurveLine, "restore it"))


@pytest.mark.parametrize("name", ["../weights.safetensors", "/weights", "a/b", "..", ".w", ""])
def test_an_index_names_files_of_its_own_folder(name: str) -> None:
    assert reading.problem({"weight_map": {"x": "model-1.safetensors"}}, WeightIndex) is None
    assert "plain file name" in (reading.problem({"weight_map": {"x": name}}, WeightIndex) or "")


@pytest.mark.parametrize("path", ["../runs", "/runs", "runs/../../x", "..\\x"])
def test_a_planned_run_stays_in_its_comparison(path: str) -> None:
    run = {"attention": "shared", "seed": 1, "path": "runs/shared[model.a=1]/seed-1"}
    assert reading.problem({"attention": ["shared"], "runs": [run]}, studies.Comparison) is None
    assert "inside the directory" in str(
        reading.problem({"attention": ["shared"], "runs": [run | {"path": path}]}, studies.Comparison)
    )


def test_what_continues_a_run_needs_all_of_it() -> None:
    assert "field required" in (reading.problem(RECORD, Pretraining) or "")


@pytest.mark.parametrize("file", sorted(RESULTS.rglob("comparison.json")), ids=lambda file: file.parent.name)
def test_the_committed_comparisons_keep_to_the_schema(file: Path) -> None:
    reading.read(file, studies.Comparison, "restore it")
    reading.read(file, studies.ContinuedComparison, "restore it")
