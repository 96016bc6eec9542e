"""What the model card tells of a model's past: who taught it, and what it was converted from."""

from typing import Any

import pytest

from leanformer.conversion.convert import convert
from leanformer.export.card import card
from leanformer.export.source import open_source
from leanformer.training.saved_model import weights_hash

ROWS = {
    "started from": "a saved model; weights with sha256 `5eed`",
    "teacher": "`dot_product`, 1,234 parameters; weights with sha256 `7ea`",
    "taught by": "minilm2; weight of masked tokens 0.5",
    "gradual path": "the teacher's attention until 40% of the budget",
    "heads drawn together": "30%, weight 1.0",
}


def rows(text: str) -> dict[str, str]:
    lines = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| "))
    return {cells[0]: cells[1] for cells in lines if len(cells) == 2}


def test_of_a_student_start_teacher_and_method_are_told(saved) -> None:
    told: dict[str, Any] = {"method": "minilm2", "masked_lm_weight": 0.5, "anneal": 0.4, "share_heads": 0.3}
    record = {
        "kind": "pretrain",
        "settings": {"training": {"objective": "masked_lm"}, "distillation": told | {"share_weight": 1.0}},
        "start": {"path": "converted", "sha256": "5eed"},
        "teacher": {"path": "teacher", "sha256": "7ea", "attention": "dot_product", "parameters": 1234},
    }
    source = open_source(saved())._replace(record=record)
    found = rows(card(source, "name", "", [], None))
    assert {key: found[key] for key in ROWS} == ROWS
    assert found["kind"] == "distilled, and predicting masked tokens"
    alone = source._replace(record=record | {"teacher": None, "start": None})
    assert not ROWS.keys() & rows(card(alone, "name", "", [], None)).keys()


def test_of_a_converted_model_the_source_is_told(saved, tmp_path) -> None:
    teacher = saved()
    result = convert(teacher, tmp_path / "out", attention="pairwise")
    found = rows(card(open_source(tmp_path / "out"), "name", "", [], None))
    assert found["kind"] == "converted to `pairwise`, not trained since"
    assert found["source"] == f"of the family leanformer; weights with sha256 `{weights_hash(teacher)}`"
    assert found["parameters of the source"] == f"{result['parameters_before']:,}"
    (tmp_path / "out" / "conversion.json").write_text("[")
    with pytest.raises(ValueError, match="conversion.json is damaged .*: convert the model again"):
        open_source(tmp_path / "out")
