"""What the model card tells of a model's past: what it began as, who taught it, and what it was converted from."""

import json
from typing import Any

import pytest

from leanformer import files
from leanformer.conversion.convert import convert
from leanformer.exporting.card import card
from leanformer.exporting.source import open_source
from leanformer.models.saved import CONVERSION, weights_hash

ROWS = {
    "started from": "'converted'; weights with sha256 `5eed`",
    "teacher": "'large', `dot_product`, 12,345 parameters; weights with sha256 `7ea`",
    "taught by": "minilm2; weight of masked tokens 0.5",
    "gradual path": "from the teacher's attention, in the first 40% of the budget",
    "heads drawn together": "30%, weight 1.0",
}


def rows(text: str) -> dict[str, str]:
    lines = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| "))
    return {cells[0]: cells[1] for cells in lines if len(cells) == 2}


def test_of_a_student_start_teacher_and_method_are_told(saved) -> None:
    method: dict[str, Any] = {"method": "minilm2", "masked_lm_weight": 0.5, "anneal": 0.4, "share_heads": 0.3}
    record = {
        "kind": "pretrain",
        "settings": {"training": {"objective": "masked_lm"}, "distillation": method | {"share_weight": 1.0}},
        "start": {"path": "/somewhere/converted/model", "sha256": "5eed"},
        "teacher": {"path": "/somewhere/large", "sha256": "7ea", "attention": "dot_product", "parameters": 12_345},
    }
    source = open_source(saved())._replace(record=record)
    text = card(source, "name", "use", [], None)
    found = rows(text)
    assert {key: found[key] for key in ROWS} == ROWS and "/somewhere" not in text
    assert found["kind"] == "distilled, and predicting masked tokens"
    alone = source._replace(record=record | {"teacher": None, "start": None})
    assert not ROWS.keys() & rows(card(alone, "name", "use", [], None)).keys()


def test_of_a_converted_model_the_source_is_told(saved, tmp_path) -> None:
    teacher, out = saved(), tmp_path / "out"
    assert "how it was trained is not known" in card(open_source(teacher), "name", "use", [], None)
    made = convert(teacher, out, attention="pairwise")
    (out / files.SUMS).unlink()  # or an edited record is refused
    (out / CONVERSION).write_text(json.dumps(made | {"loss_before": 2.5, "loss_after": 2.75}))
    text = card(open_source(out), "name", "use", [], None)
    found = rows(text)
    assert found["kind"] == "converted to `pairwise`, not trained since"
    assert found["source"] == f"{teacher.name!r} (leanformer); weights with sha256 `{weights_hash(teacher)}`"
    assert found["parameters before and after"] == f"{made['parameters_before']:,}, {made['parameters_after']:,}"
    assert found["masked-LM loss before and after"] == "2.5000, 2.7500 nats" and str(tmp_path) not in text
    (out / CONVERSION).write_text("[")
    with pytest.raises(ValueError, match="conversion.json is damaged .*: convert the model again"):
        open_source(out)


def test_of_a_sparse_model_its_zeros_are_told(saved) -> None:
    counts = {"maps": 12, "weights": 1_200, "zeros": 1_080, "trainable": 300, "head": 30}
    record = {
        "kind": "finetune",
        "task": "sst2",
        "settings": {"finetuning": {"epochs": 3.0, "method": "pst"}},
        "results": {"metrics": {"accuracy": 0.75}, "sparse": counts, "corrected_labels": 7},
    }
    source = open_source(saved("LeanformerForSequenceClassification"))._replace(record=record)
    found = rows(card(source, "name", "use", [], None))
    assert found["weights that are zero"] == "1,080 of 1,200 in 12 maps"
    assert (found["labels replaced"], found["method"], found["epochs"]) == ("7", "pst", "3.0")


def test_settings_of_the_architecture_that_are_not_berts_are_named(saved) -> None:
    plain = card(open_source(saved()), "name", "use", [], None)
    assert "Where BERT has another value" not in plain
    settings = {"positions": "rotary", "norm": "pre", "first_norm": False, "feed_forward": "gated", "biases": False}
    local = {"sliding_window": 3, "global_attn_every_n_layers": 2, "local_rotary_base": 70.0, "rotary_base": 5000.0}
    text = card(open_source(saved(hidden_act="relu", **settings, **local)), "name", "use", [], None)
    (line,) = [line for line in text.splitlines() if line.startswith("Where BERT has another value: ")]
    for name, value in (settings | local | {"hidden_act": "relu"}).items():
        assert f"`{name}` = `{value}`" in line
    assert "attention" not in line.replace("global_attn", "")
    shared = card(open_source(saved(embedding_size=7, layer_sharing="all")), "name", "use", [], None)
    assert "`embedding_size` = `7`" in shared and "by the plan `all`" in shared


def test_of_a_mixer_without_heads_no_attention_is_told(saved) -> None:
    options = {"inner_size": 22, "tiny_attention": 6}
    source = open_source(saved(mixer="gmlp", mixer_options=options))
    text = card(source, "name", "use", [], None)
    assert "Its token mixer is `gmlp` (Liu et al. 2021)" in text and "Its attention is" not in text
    layers = [layer.attention.num_params() for layer in source.model.encoder.layers]
    assert rows(text)["of them in attention"] == f"{sum(layers):,}", "a tiny head is a part of its mixer"
