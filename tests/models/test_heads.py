"""What a head computes, and what it leaves out."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from leanformer import (
    LeanformerForMaskedLM,
    LeanformerForQuestionAnswering,
    LeanformerForSequenceClassification,
    LeanformerForTokenClassification,
)
from leanformer.attention import names

MASKED = torch.tensor([[1, 4], [0, 6], [10, 3]])


def sparse_labels(batch):
    """Labels of the masked positions in both forms: (B, N), and (B, L) with -100 elsewhere."""
    few = torch.randint(1, 101, (3, 2))
    few[1, 1] = -100
    everywhere = torch.full((3, 11), -100).scatter(1, MASKED, few)
    return few, everywhere


def test_scores_on_masked_positions_are_the_full_ones_there(tiny, scattered, batch):
    model = scattered(LeanformerForMaskedLM(tiny()))
    few, everywhere = sparse_labels(batch)
    full = model(**batch, labels=everywhere)
    full.loss.backward()
    gradients = {key: parameter.grad.clone() for key, parameter in model.named_parameters()}
    model.zero_grad()
    sparse = model(**batch, labels=few, masked_positions=MASKED)
    sparse.loss.backward()
    assert sparse.logits.shape == (3, 2, 101)
    for b in range(3):
        for n in range(2):
            assert_close(sparse.logits[b, n], full.logits[b, MASKED[b, n]])
    assert_close(sparse.loss, full.loss)
    for key, parameter in model.named_parameters():
        assert_close(parameter.grad, gradients[key], msg=lambda message, key=key: f"{key}: {message}")


def test_the_head_runs_on_masked_positions_only(tiny, batch):
    model, seen = LeanformerForMaskedLM(tiny()), []
    model.head.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    model(**batch, masked_positions=MASKED)
    assert seen == [(3, 2, 30)]


@pytest.mark.parametrize(
    ("attention", "positions"), [*((name, "rotary") for name in names()), ("dot_product", "learned")]
)
def test_a_pretraining_step_compiles_whole(tiny, batch, attention, positions):
    torch.compiler.reset()
    model = LeanformerForMaskedLM(tiny(attention=attention, positions=positions, hidden_dropout_prob=0.1))
    whole = torch.compile(model, backend="eager", fullgraph=True)
    few, _ = sparse_labels(batch)
    for length in (11, 7):
        ids = batch["input_ids"][:, :length]
        whole(ids, masked_positions=MASKED.clamp(max=length - 1), labels=few).loss.backward()
    assert whole(**batch, masked_positions=MASKED, labels=few).loss.isfinite()


@pytest.mark.parametrize("masked", [False, True])
def test_parts_of_a_step_add_up_to_its_mean_loss(tiny, scattered, batch, masked):
    model = scattered(LeanformerForMaskedLM(tiny()))
    few, everywhere = sparse_labels(batch)
    inputs = batch | ({"labels": few, "masked_positions": MASKED} if masked else {"labels": everywhere})
    parts = [{key: value[rows] for key, value in inputs.items()} for rows in ([0], [1, 2])]
    assert_close(sum(model(**part, num_items_in_batch=5).loss for part in parts), model(**inputs).loss)
    assert_close(sum(model(**part, num_items_in_batch=torch.tensor(5)).loss for part in parts), model(**inputs).loss)


@pytest.mark.parametrize(
    ("num_labels", "labels", "problem"),
    [
        (1, torch.tensor([0.5, -1.0, 2.0]), "regression"),
        (1, torch.tensor([1, 0, 2]), "regression"),
        (4, torch.tensor([3, 0, 2]), "single_label_classification"),
        (4, torch.tensor([[0.0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]), "multi_label_classification"),
    ],
)
def test_sequence_losses(tiny, scattered, batch, num_labels, labels, problem):
    model = scattered(LeanformerForSequenceClassification(tiny(num_labels=num_labels)))
    outputs = model(**batch, labels=labels)
    assert outputs.logits.shape == (3, num_labels)
    assert model.config.problem_type == problem
    reference = {
        "regression": lambda: (outputs.logits[:, 0] - labels).square().mean(),
        "single_label_classification": lambda: -outputs.logits.log_softmax(-1)[range(3), labels].mean(),
        "multi_label_classification": lambda: F.binary_cross_entropy(outputs.logits.sigmoid(), labels),
    }
    assert_close(outputs.loss, reference[problem]())
    items = labels.numel()
    parts = [
        model(**{k: v[rows] for k, v in batch.items()}, labels=labels[rows], num_items_in_batch=items).loss
        for rows in ([0], [1, 2])
    ]
    assert_close(sum(parts), outputs.loss)


def test_several_numbers_can_be_predicted_at_once(tiny, scattered, batch):
    model = scattered(LeanformerForSequenceClassification(tiny(num_labels=2, problem_type="regression")))
    labels = torch.randn(3, 2)
    outputs = model(**batch, labels=labels)
    assert_close(outputs.loss, (outputs.logits - labels).square().mean())


def test_classification_compiles_whole(tiny, batch):
    torch.compiler.reset()
    model = LeanformerForSequenceClassification(tiny(num_labels=4))
    whole = torch.compile(model, backend="eager", fullgraph=True)
    whole(**batch, labels=torch.tensor([3, 0, 2])).loss.backward()
    assert model.config.problem_type == "single_label_classification"


def test_token_labels_of_minus_100_are_no_targets(tiny, scattered, batch):
    model = scattered(LeanformerForTokenClassification(tiny(num_labels=4)))
    labels = torch.randint(0, 4, (3, 11))
    labels[:, ::3] = -100
    outputs = model(**batch, labels=labels)
    targets = labels >= 0
    expected = -outputs.logits.log_softmax(-1)[targets].gather(1, labels[targets][:, None]).mean()
    assert_close(outputs.loss, expected)


def test_an_answer_beyond_the_sequence_is_no_target(tiny, scattered, batch):
    model = scattered(LeanformerForQuestionAnswering(tiny(num_labels=7)))
    start, end = torch.tensor([2, 0, 50]), torch.tensor([5, 60, 70])
    outputs = model(**batch, start_positions=start, end_positions=end)
    assert outputs.start_logits.shape == outputs.end_logits.shape == (3, 11)
    first = outputs.start_logits.log_softmax(-1)[[0, 1], [2, 0]].mean()
    last = outputs.end_logits.log_softmax(-1)[0, 5]
    assert_close(outputs.loss, -(first + last) / 2)


@pytest.mark.parametrize("classifier_dropout", [None, 0.5])
def test_a_classifier_drops_out_as_told(tiny, classifier_dropout):
    config = tiny(classifier_dropout=classifier_dropout, hidden_dropout_prob=0.25)
    for model_class in (LeanformerForSequenceClassification, LeanformerForTokenClassification):
        assert model_class(config).dropout.p == (classifier_dropout or 0.25)


def test_losses_are_taken_in_float32(tiny, batch):
    model = LeanformerForMaskedLM(tiny()).bfloat16()
    outputs = model(**batch, labels=batch["input_ids"])
    assert outputs.logits.dtype == torch.bfloat16
    assert outputs.loss.dtype == torch.float32
