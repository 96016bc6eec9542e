"""The fused loss is the plain one: values, gradients, ignored labels, parts of a step; and so is the model's."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from leanformer import LeanformerForCausalLM, LeanformerForConditionalGeneration, LeanformerForMaskedLM
from leanformer.models import linear_cross_entropy as module
from leanformer.models.linear_cross_entropy import linear_cross_entropy
from leanformer.models.loss import cross_entropy

ROWS, WIDTH = 23, 7


def plain(x, weight, bias, labels, count=None, smoothing=0.0):
    return cross_entropy(F.linear(x, weight, bias), labels, count, smoothing=smoothing)


def inputs(words, dtype, bias=True):
    x = torch.randn(ROWS, WIDTH, dtype=dtype, requires_grad=True)
    weight = torch.randn(words, WIDTH, dtype=dtype, requires_grad=True)
    labels = torch.randint(0, words, (ROWS,))
    labels[[3, 11]] = -100
    return (x, weight, torch.randn(words, dtype=dtype, requires_grad=True) if bias else None), labels


def value_and_gradients(loss, tensors, labels, count=None, smoothing=0.0):
    value = loss(*tensors, labels, count, smoothing)
    return value.detach(), *torch.autograd.grad(value * 1.7, [tensor for tensor in tensors if tensor is not None])


@pytest.mark.parametrize("words", [101, 128])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [None, 5, torch.tensor(5)])
@pytest.mark.parametrize("chunk", [1, 300, 2**19])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_the_formula_in_double_precision(words, bias, count, chunk, smoothing, monkeypatch):
    monkeypatch.setattr(module, "CPU_CHUNK", chunk)
    tensors, labels = inputs(words, torch.float64, bias)
    fused = value_and_gradients(linear_cross_entropy, tensors, labels, count, smoothing)
    assert_close(fused, value_and_gradients(plain, tensors, labels, count, smoothing), rtol=1e-10, atol=1e-12)


def test_numerical_gradients():
    tensors, labels = inputs(19, torch.float64)
    torch.autograd.gradcheck(lambda *t: linear_cross_entropy(*t, labels, None, 0.1), tensors)


def test_float32():
    tensors, labels = inputs(101, torch.float32)
    fused = value_and_gradients(linear_cross_entropy, tensors, labels)
    assert_close(fused, value_and_gradients(plain, tensors, labels))


def test_bf16_is_no_further_from_the_truth_than_the_plain_formula():
    tensors, labels = inputs(101, torch.float32)
    doubles = [tensor.detach().double().requires_grad_() for tensor in tensors]
    exact = [value.detach() for value in value_and_gradients(plain, doubles, labels)]
    with torch.autocast("cpu", torch.bfloat16):
        fused = value_and_gradients(linear_cross_entropy, tensors, labels)
        usual = value_and_gradients(plain, tensors, labels)
    assert [t.dtype for t in fused] == [torch.float32] * 4
    for ours, theirs, truth in zip(fused, usual, exact, strict=True):
        assert (ours - truth).norm() <= 1.1 * (theirs - truth).norm() + 1e-3 * truth.norm()
        assert_close(ours, theirs, rtol=2e-2, atol=2e-2 * float(truth.abs().max()))


def test_huge_scores_stay_finite():
    tensors, labels = inputs(101, torch.float32)
    far = [(tensor * 1e4).detach().requires_grad_() for tensor in tensors]
    fused, usual = (value_and_gradients(loss, far, labels) for loss in (linear_cross_entropy, plain))
    assert_close(fused, usual, rtol=1e-5, atol=0.1)


def test_evaluation_makes_the_same_loss_and_no_gradient():
    tensors, labels = inputs(101, torch.float32)
    with torch.no_grad():
        loss = linear_cross_entropy(*tensors, labels)
    assert not loss.requires_grad
    assert_close(loss, plain(*tensors, labels))


def test_no_target_at_all():
    tensors, labels = inputs(101, torch.float32)
    loss = linear_cross_entropy(*tensors, torch.full_like(labels, -100), 1)
    assert_close(torch.autograd.grad(loss, tensors), tuple(torch.zeros_like(t) for t in tensors))
    assert loss == 0


@pytest.mark.parametrize("count", [None, 5])
def test_a_model_without_logits_learns_the_same(tiny, scattered, batch, count):
    model = scattered(LeanformerForMaskedLM(tiny())).double()
    labels = torch.randint(1, 101, (3, 11)).masked_fill(batch["input_ids"] % 3 > 0, -100)
    found = []
    for return_logits in (True, False):
        model.zero_grad()
        outputs = model(**batch, labels=labels, num_items_in_batch=count, return_logits=return_logits)
        assert (outputs.logits is None) != return_logits
        outputs.loss.backward()
        found.append((outputs.loss, {name: p.grad for name, p in model.named_parameters()}))
    assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [LeanformerForCausalLM, LeanformerForConditionalGeneration])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_generative_model_without_logits_learns_the_same(tiny, scattered, batch, kind, smoothing):
    special = {"pad_token_id": 0, "decoder_start_token_id": 3, "label_smoothing": smoothing}
    model = scattered(kind(tiny(**special))).double().train()
    labels = torch.randint(1, 101, (3, 11)).masked_fill(batch["input_ids"] % 3 == 0, -100)
    found = []
    for return_logits in (True, False):
        model.zero_grad()
        outputs = model(batch["input_ids"], labels=labels, return_logits=return_logits)
        assert (outputs.logits is None) != return_logits
        outputs.loss.backward()
        found.append((outputs.loss, {name: p.grad for name, p in model.named_parameters()}))
    assert_close(found[0], found[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", [LeanformerForMaskedLM, LeanformerForCausalLM])
def test_a_head_that_is_more_than_its_weight_is_called(tiny, batch, kind):
    model, labels = kind(tiny()).eval(), torch.randint(1, 101, (3, 11))
    model.get_output_embeddings().register_forward_hook(lambda head, given, scores: 3 * scores)
    losses = [model(batch["input_ids"], labels=labels, return_logits=wanted).loss for wanted in (True, False)]
    assert_close(*losses)


def test_logits_are_made_where_no_loss_is_asked_for(tiny, batch):
    model = LeanformerForMaskedLM(tiny())
    assert model(**batch, return_logits=False).logits.shape == (3, 11, 101)
