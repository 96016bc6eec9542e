"""The only softmax, mask and dropout: every path gives the numbers of the plain formula, and says which one it is."""

from math import exp

import pytest
import torch
from torch.testing import assert_close

from leanformer.attention import Logits, MultiHeadAttention, attend, attention_weights, choose_path
from leanformer.attention.flex import flex_attend
from leanformer.attention.testing import inputs, layer

B, H, L, M, K = 2, 3, 5, 7, 11


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def logits(seed=0, bias=False):
    return Logits(
        draw(B, H, L, K, seed=seed), draw(B, H, M, K, seed=seed + 1), draw(B, H, L, M, seed=seed + 2) if bias else None
    )


def test_two_tokens_by_hand():
    """Logits 0 and 1 weigh 1 : e."""
    value = torch.tensor([[[[10.0], [20.0]]]])
    scores = Logits(query=torch.tensor([[[[1.0]]]]), key=torch.tensor([[[[0.0], [1.0]]]]))
    expected = torch.tensor([[[[(10 + 20 * exp(1)) / (1 + exp(1))]]]])
    for fused in (False, True):
        assert_close(attend(scores, value, fused=fused), expected)


@pytest.mark.parametrize("bias", [False, True])
def test_masked_rows_agree_on_both_paths(bias):
    mask = torch.rand(B, 1, L, M, generator=torch.Generator().manual_seed(3)) < 0.5
    mask[1, :, 2] = False
    value = draw(B, H, M, K)
    fused, plain = (attend(logits(bias=bias), value, mask, fused=f) for f in (True, False))
    assert_close(fused, plain)
    assert_close(fused[1, :, 2], torch.zeros(H, K, dtype=torch.float64))


def test_dropout_drops_and_rescales_weights():
    scores = Logits(bias=torch.zeros(1, 1, 400, 500))
    torch.manual_seed(0)
    weights = attention_weights(scores, dropout=0.25) * 500
    kept = weights > 0
    assert_close(weights[kept], torch.full_like(weights[kept], 1 / 0.75))
    assert abs(kept.double().mean().item() - 0.75) < 0.005
    context = attend(scores, torch.ones(1, 1, 500, 2), dropout=0.25)
    assert context.std() > 0, "dropout has no effect on the context"


def test_dropout_strikes_shared_rows_once_for_the_batch():
    scores = Logits(bias=torch.zeros(1, 1, 40, 50))
    torch.manual_seed(0)
    padding = torch.ones(3, 1, 1, 50, dtype=torch.bool)
    one, two, three = attend(scores, torch.ones(3, 1, 50, 2), padding, dropout=0.25)
    assert one.std() > 0, "dropout has no effect on the context"
    assert_close(one, two)
    assert_close(one, three)


def test_the_fastest_path_is_taken_and_named():
    value = draw(B, H, M, K)
    assert choose_path(logits(), value) == "fused"
    assert choose_path(logits(bias=True), value) == "fused"
    assert choose_path(logits(), value, fused=False) == "plain"
    assert choose_path(logits(), value, dropout=0.1) == "plain"
    assert choose_path(logits(), value[..., :-1]) == "plain"
    half = Logits(*(part.bfloat16() for part in logits()[:2]))
    assert choose_path(half, value.bfloat16()) == "plain", "its backward pass is slower in bf16"
    with torch.no_grad():
        assert choose_path(half, value.bfloat16()) == "fused"
    long = half._replace(key=half.key.repeat(1, 1, 2**18, 1))
    assert choose_path(long, value.bfloat16()) == "fused", "saves memory when long"
    learned = logits()._replace(bias=draw(L, M).requires_grad_())
    assert choose_path(learned, value) == "plain", "the kernel of a CPU knows no gradient of a bias"


def test_rows_are_shared_unless_the_mask_or_the_scores_tell_examples_apart():
    value, shared = draw(B, H, M, K), Logits(bias=draw(1, H, L, M))
    padding, pairs, both = (torch.ones(shape, dtype=torch.bool) for shape in ((B, 1, 1, M), (L, M), (B, 1, L, M)))
    assert choose_path(shared, value) == "shared_rows"
    assert choose_path(shared, value, padding) == "shared_rows"
    assert choose_path(shared, value, pairs) == "shared_rows"
    assert choose_path(shared, value, both) == "plain"
    assert choose_path(Logits(bias=draw(B, H, L, M)), value) == "plain"


def kinds_of_masks():
    coin = torch.rand(B, H, L, M, generator=torch.Generator().manual_seed(3)) < 0.5
    padding = coin[:, :1, :1].clone()
    padding[1] = False
    pairs = coin[:1].clone()
    pairs[:, :, 2] = False
    return {"none": None, "padding": padding, "one padding": padding[:1], "pairs": pairs, "three axes": pairs[0]}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", kinds_of_masks().values(), ids=kinds_of_masks())
@pytest.mark.parametrize("bias", [1, 30], ids=["usual", "steep"])
def test_shared_rows_are_the_plain_formula(mask, causal, bias):
    """Values and gradients; a steep table puts rows so far below their maximum that the bound matters."""
    table, value = (bias * draw(1, H, L, M)).requires_grad_(), draw(B, H, M, K).requires_grad_()
    outcomes = []
    for fused in (True, False):
        context = attend(Logits(bias=table), value, mask, causal=causal, fused=fused)
        assert context.shape == (B, H, L, K)
        outcomes.append([context, *torch.autograd.grad((context * draw(B, H, L, K, seed=9)).sum(), (table, value))])
    for shared, plain in zip(*outcomes, strict=True):
        assert_close(shared, plain)


def test_padding_that_hides_a_far_greater_score_leaves_a_finite_row():
    table = torch.zeros(1, 1, 1, 3)
    table[..., 0] = 500.0
    keys = torch.tensor([False, True, True])[None, None, None]
    value = torch.tensor([[[[1.0], [2.0], [4.0]]]])
    assert_close(attend(Logits(bias=table), value, keys), torch.tensor([[[[3.0]]]]))


def test_shared_rows_never_hold_a_matrix_an_example():
    """Nothing that is kept for the backward pass is as large as (B, H, L, M)."""
    batch, length = 16, 64
    module = MultiHeadAttention("random", 6, 2, length, dropout=0.1)
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    for mask in (None, torch.ones(batch, 1, 1, length, dtype=torch.bool)):
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            module(torch.randn(batch, length, 6), mask=mask)
        assert module.path == "shared_rows"
    assert max(kept) < batch * 2 * length**2 / 4


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("mode", [True, False])
def test_a_step_of_training_is_seen_by_the_next_evaluation(fused, mode):
    """Also one by a fused optimizer, which changes a table without a new version; also training in evaluation mode."""
    module, x = MultiHeadAttention("random", 6, 2, 5), torch.randn(3, 5, 6)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.5, fused=fused)
    for _ in range(3):
        module.train(mode)
        module(x).square().sum().backward()
        optimizer.step()
        module.eval()
        fresh = MultiHeadAttention("random", 6, 2, 5).eval()
        fresh.load_state_dict(module.state_dict())
        with torch.no_grad():
            assert_close(module(x), fresh(x), rtol=0, atol=0)


def test_evaluated_rows_are_kept_until_a_weight_changes(monkeypatch):
    module = layer("random", {}).eval()
    made = []
    forward = type(module.compatibility).forward
    monkeypatch.setattr(type(module.compatibility), "forward", lambda *arguments: made.append(1) or forward(*arguments))
    x = inputs(2, 5)
    padding = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    padding[1, ..., 3:] = False
    with torch.no_grad():
        first = module(x)
        assert_close(module(x), first)
        padded = module(x, mask=padding)
        assert len(made) == 1
        module(x[:, :4])
        assert len(made) == 2, "another length has other rows"
        module.compatibility.table.mul_(2)
        module.fused = False
        expected, expected_padded = module(x), module(x, mask=padding)
        module.fused = True
        assert_close(module(x), expected)
        assert_close(module(x, mask=padding), expected_padded)
        assert not torch.equal(expected, first) and not torch.equal(expected_padded, padded)
    module.train()
    made.clear()
    module(x), module(x)
    assert len(made) == 2, "in training the weights change at every step"


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("shape", [(B, H, L, M), (1, H, L, M), (L, M)], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_flex_attention_is_the_plain_formula(shape, masked):
    """Uncompiled, on the CPU; values only, since it has no backward pass here."""
    scores, value = logits()._replace(bias=draw(*shape, seed=4)), draw(B, H, M, K)
    mask = torch.rand(B, 1, L, M, generator=torch.Generator().manual_seed(3)) < 0.5
    mask[..., 0] = True
    mask = mask if masked else None
    assert_close(flex_attend(*scores[:2], value, scores.bias, mask), attend(scores, value, mask, fused=False))


@pytest.mark.gpu
@pytest.mark.parametrize("causal", [False, True])
def test_flex_attention_on_a_gpu_has_the_gradients_of_the_plain_formula(causal):
    size = (4, 4, 256, 64)
    tensors = [torch.randn(size, device="cuda").requires_grad_() for _ in range(3)]
    table = torch.randn(1, 4, 256, 256, device="cuda").requires_grad_()
    scores = Logits(tensors[0] * 0.125, tensors[1], table)
    outcomes = []
    for fused in (True, False):
        assert choose_path(scores, tensors[2], fused=fused) == ("flex" if fused else "plain")
        context = attend(scores, tensors[2], causal=causal, fused=fused)
        outcomes.append([context, *torch.autograd.grad(context.square().sum(), [*tensors, table])])
    for flex, plain in zip(*outcomes, strict=True):
        assert_close(flex, plain, rtol=2e-2, atol=2e-2)  # TF32 inside the kernel
