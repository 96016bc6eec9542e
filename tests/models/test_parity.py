"""The baseline is the real one: `dot_product` is Hugging Face's BERT, in values and gradients."""

import inspect

import pytest
import torch
import transformers
from torch.testing import assert_close
from transformers import BertConfig

from leanformer import models
from leanformer.conversion.checkpoints.families import FAMILIES

BERT = FAMILIES["bert"]
LABELS = {
    "BertModel": {},
    "BertForMaskedLM": {"labels": (101, (3, 11))},
    "BertForSequenceClassification": {"labels": (5, (3,))},
    "BertForTokenClassification": {"labels": (5, (3, 11))},
    "BertForMultipleChoice": {"labels": (2, (3,))},
    "BertForQuestionAnswering": {"start_positions": (11, (3,)), "end_positions": (11, (3,))},
}


@pytest.fixture(params=BERT.classes)
def pair(request, tiny, scattered):
    """A BERT, the leanformer with its weights, and how BERT's parameters are called there."""
    ours_name = BERT.classes[request.param]
    five = {} if request.param in ("BertForQuestionAnswering", "BertForMultipleChoice") else {"num_labels": 5}
    config = tiny(**five)
    shared = {key: value for key, value in config.to_dict().items() if key in BertConfig().to_dict()}
    bert = scattered(getattr(transformers, request.param)(BertConfig(**shared | {"model_type": "bert"})))
    ours = getattr(models, ours_name)(config).eval()
    bare = request.param == "BertModel"
    called = {}
    for key in bert.state_dict():
        new = BERT.to_leanformer(f"bert.{key}" if bare else key)
        called[key] = new.removeprefix("encoder.") if bare else new
    ours.load_state_dict({called[key]: value for key, value in bert.state_dict().items()})
    return bert, ours, called


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_outputs_loss_and_gradients_equal_berts(pair, batch, posed, kernel):
    bert, ours, called = pair
    ours.set_attn_implementation(kernel)
    targets = LABELS[type(bert).__name__]
    batch = posed(bert, batch)
    batch |= {key: torch.randint(0, classes, shape) for key, (classes, shape) in targets.items()}
    expected, actual = bert(**batch), ours(**batch)
    assert actual.keys() == expected.keys()
    attended = batch["attention_mask"].bool()
    for key in expected:
        theirs, mine = expected[key], actual[key]
        if theirs.shape[:2] == attended.shape:  # what stands in the padding is nobody's business
            theirs, mine = theirs[attended], mine[attended]
        assert_close(mine, theirs, rtol=0, atol=1e-5, msg=lambda message, key=key: f"{key}: {message}")
    for output in (expected, actual):
        if output.get("loss") is not None:
            output.loss.backward()
        else:
            (output.last_hidden_state[attended].sin().sum() + output.pooler_output.sin().sum()).backward()
    gradients = {key: parameter.grad for key, parameter in ours.named_parameters()}
    for key, parameter in bert.named_parameters():
        assert_close(
            gradients[called[key]],
            parameter.grad,
            rtol=1e-5,
            atol=1e-5,
            msg=lambda message, key=key: f"{key}: {message}",
        )


def test_every_parameter_has_one_counterpart(pair):
    bert, ours, called = pair
    assert {called[key] for key, _ in bert.named_parameters()} == {key for key, _ in ours.named_parameters()}
    assert ours.num_parameters() == bert.num_parameters()


def test_embeddings_and_positions_given_by_hand_equal_berts(pair, posed):
    bert, ours, _ = pair
    inputs = {"inputs_embeds": torch.randn(3, 11, 30), "position_ids": torch.randperm(29)[:11].expand(3, -1)}
    inputs = posed(bert, inputs)
    assert_close(ours(**inputs)[0], bert(**inputs)[0], rtol=0, atol=1e-5)


def test_keywords_are_taken_as_bert_takes_them(pair, batch, posed):
    """All that BERT names, and all that it takes because tools pass it to every model."""
    bert, ours, _ = pair
    batch = posed(bert, batch)
    parameters = {name: inspect.signature(model.forward).parameters for name, model in (("bert", bert), ("ours", ours))}
    assert list(parameters["ours"])[:5] == list(parameters["bert"])[:5]
    asked = dict.fromkeys(parameters["bert"].keys() - batch.keys() - {"kwargs"})
    asked |= {"use_cache": False, "cache_position": torch.arange(11), "num_items_in_batch": 3, "unheard_of": 1}
    asked |= {"output_hidden_states": True, "output_attentions": True}
    for model in (bert, ours):
        model.set_attn_implementation("eager")
    expected, actual = bert(**batch, **asked), ours(**batch, **asked)
    assert actual.keys() == expected.keys() - {"cross_attentions"}
    assert len(actual.hidden_states) == len(expected.hidden_states) and len(actual.attentions) == 2
    as_tuple = ours(**batch, **asked, return_dict=False)
    assert isinstance(as_tuple, tuple) and len(as_tuple) == len(actual)
    with pytest.raises(ValueError, match="encoder_hidden_states"):
        ours(**batch, encoder_hidden_states=torch.zeros(3, 11, 30))


def test_a_loss_may_be_one_part_of_a_steps(pair, batch, posed):
    bert, ours, _ = pair
    batch, targets = posed(bert, batch), LABELS[type(bert).__name__]
    if not targets:
        return
    batch |= {key: torch.randint(0, classes, shape) for key, (classes, shape) in targets.items()}
    count = next(batch[key] for key in targets).numel()
    assert_close(ours(**batch, num_items_in_batch=7).loss, ours(**batch).loss * count / 7)
