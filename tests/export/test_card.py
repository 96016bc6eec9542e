"""The model card: what a model began as and who taught it, beside how it was trained."""

import json

from leanformer.export.card import card
from leanformer.export.source import open_source
from leanformer.training.saved_model import CONVERSION

TAUGHT = {
    "kind": "pretrain",
    "settings": {
        "training": {"objective": "masked_lm"},
        "distillation": {"method": "minilm2", "anneal": 0.5, "teacher_layer": None},
    },
    "start": {"path": "/somewhere/converted/model", "sha256": "5a5a"},
    "teacher": {"path": "/somewhere/large", "sha256": "7c7c", "attention": "dot_product", "parameters": 12_345},
}


def test_a_student_names_its_start_and_its_teacher(saved):
    text = card(open_source(saved())._replace(record=TAUGHT), "name", "use", [], None)
    assert "| started from | 'converted', weights with sha256 `5a5a` |" in text
    assert "| teacher | 'large', `dot_product`, 12,345 parameters, sha256 `7c7c` |" in text
    assert "| learned from it | method minilm2, anneal 0.5 |" in text
    assert "/somewhere" not in text


def test_a_converted_model_says_what_it_was_made_from(saved):
    folder = saved(attention="symmetric")
    assert "how it was trained is not known" in card(open_source(folder), "name", "use", [], None)
    made = {"source": "/somewhere/bert", "from": "bert", "attention": "symmetric", "parameters_before": 1_200}
    made |= {"parameters_after": 1_100, "loss_before": 2.5, "loss_after": 2.75}
    (folder / CONVERSION).write_text(json.dumps(made))
    text = card(open_source(folder), "name", "use", [], None)
    assert "| converted from | 'bert' (bert), to `symmetric` attention |" in text
    assert "| parameters before and after | 1,200, 1,100 |" in text
    assert "| masked-LM loss before and after | 2.5000, 2.7500 nats |" in text
    assert "It was not trained since." in text and "/somewhere" not in text
