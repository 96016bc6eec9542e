"""Models made for inference: how far from float32 they may be, that they run, what is left of the original."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from leanformer import LeanformerForCausalLM, LeanformerForConditionalGeneration, LeanformerForMaskedLM
from leanformer.attention import names
from leanformer.models.inference import PRECISIONS, for_inference
from leanformer.models.int8_linear import Int8Linear, row_scales

GENERATIVE = {"pad_token_id": 0, "bos_token_id": 3, "eos_token_id": 2, "decoder_start_token_id": 3}
KERNELS = pytest.mark.parametrize("exact", [True, False], ids=["vnni", "avx2"])
ROUNDINGS = 12
"""One after the other on the way from a token to its scores, in a model of two layers."""


def distance(found, expected):
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def use(exact, monkeypatch):
    if exact and not torch.cpu._is_vnni_supported():
        pytest.skip("the CPU adds 8-bit products in 16 bits")
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: exact)


@KERNELS
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_an_int8_layer_is_within_the_error_of_its_rounding(exact, bias, shift, monkeypatch):
    use(exact, monkeypatch)
    linear, x = nn.Linear(37, 23, bias=bias).requires_grad_(False), torch.randn(3, 5, 37) + shift
    fast = Int8Linear(linear)
    weight, inputs = linear.weight.double(), x.double()
    range_of_x = inputs.max().clamp(min=0) - inputs.min().clamp(max=0)
    error_of_x = range_of_x / (255 if exact else 127)
    error_of_row = weight.abs().amax(dim=1) / 127 / 2
    bound = weight.abs().sum(dim=1) * error_of_x + (inputs.abs().sum(-1, keepdim=True) + 37 * error_of_x) * error_of_row
    errors = (fast(x).double() - nn.functional.linear(inputs, weight, linear.bias.double() if bias else None)).abs()
    assert (errors <= bound + 1e-5).all()
    assert errors.max() > 1e-4, "nothing was rounded"


@KERNELS
def test_whole_numbers_are_multiplied_exactly(exact, monkeypatch):
    use(exact, monkeypatch)
    weight, x = torch.randint(-127, 128, (23, 37)), torch.randint(0, 128, (5, 37))
    weight[:, 0], x[0, 0], x[1, 0] = 127, 0, 255 if exact else 127
    linear = nn.Linear(37, 23, bias=False)
    linear.weight.data = weight.float()
    assert_close(Int8Linear(linear)(x.float()), (x @ weight.T).float())


@KERNELS
def test_inputs_at_the_edges(exact, monkeypatch):
    """Zeros give the bias, nothing gives nothing, and what is not a number is not hidden."""
    use(exact, monkeypatch)
    linear = nn.Linear(37, 23).requires_grad_(False)
    fast = Int8Linear(linear)
    assert_close(fast(torch.zeros(2, 5, 37)), linear.bias.expand(2, 5, 23))
    assert fast(torch.zeros(0, 5, 37)).shape == (0, 5, 23)
    for odd in (torch.nan, torch.inf):
        assert fast(torch.full((5, 37), odd)).isnan().all()
    assert fast(torch.randn(5, 37, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_row_of_zeros_has_a_scale():
    assert_close(row_scales(torch.tensor([[0.0, 0.0], [1.0, -254.0]])), torch.tensor([1 / 127, 2.0]))


@pytest.mark.parametrize("attention", names())
def test_every_mechanism_is_near_float32(tiny, batch, attention):
    model = LeanformerForMaskedLM(tiny(attention=attention)).eval()
    read = batch["attention_mask"].bool()
    with torch.inference_mode():
        expected = model(**batch).logits[read]
        half, whole = (for_inference(model, precision)(**batch).logits[read] for precision in PRECISIONS)
    assert half.dtype == torch.bfloat16 and whole.dtype == torch.float32
    assert 0 < distance(half, expected) < ROUNDINGS * 2**-9
    assert 0 < distance(whole, expected) < 0.05


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_trained_models_loss_hardly_changes(tiny, precision):
    """Words come in pairs (w, w + 50), and one of a pair is hidden."""
    torch.manual_seed(1)
    model = LeanformerForMaskedLM(tiny(norm="pre"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)

    def loss(model):
        words = torch.randint(1, 8, (32, 5))
        ids = torch.stack((words, words + 50), dim=-1).flatten(1)
        hidden = ids.clone()
        hidden[:, 3] = 0
        return model(hidden, masked_positions=torch.full((32, 1), 3), labels=ids[:, 3:4]).loss

    first = float(loss(model).detach())
    for _ in range(150):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()
    seed = torch.get_rng_state()
    losses = []
    for one in (model.eval(), for_inference(model, precision)):
        torch.set_rng_state(seed)
        with torch.inference_mode():
            losses.append(float(loss(one)))
    assert losses[0] < first / 2, "it has learned nothing"
    assert abs(losses[1] - losses[0]) < 0.02


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", [LeanformerForCausalLM, LeanformerForConditionalGeneration])
def test_generative_models_write(tiny, batch, kind, precision):
    model = for_inference(kind(tiny(**GENERATIVE)), precision)
    written = model.generate(batch["input_ids"], max_new_tokens=5, num_beams=2)
    assert len(written) == 3


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_model_itself_stays_as_it_is(tiny, batch, precision):
    model = LeanformerForMaskedLM(tiny(hidden_dropout_prob=0.5)).train()
    before = deepcopy(model.state_dict())
    fast = for_inference(model, precision)
    assert model.training and not fast.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    assert_close(deepcopy(fast)(**batch).logits, fast(**batch).logits)


def test_int8_takes_linear_layers_that_are_nothing_else(tiny, batch):
    model = LeanformerForMaskedLM(tiny())
    seen = []
    model.head.decoder.register_forward_hook(lambda *_: seen.append(1))
    fast = for_inference(model, "int8")
    linear = [name for name, module in fast.named_modules() if isinstance(module, nn.Linear)]
    assert linear == ["head.decoder"]
    with torch.autocast("cpu", torch.bfloat16):
        fast(**batch)
    assert seen == [1]


def test_an_int8_model_is_not_saved(tiny, tmp_path):
    with pytest.raises(ValueError, match="save the one it was made of"):
        for_inference(LeanformerForMaskedLM(tiny()), "int8").save_pretrained(tmp_path / "model")


def test_mistakes_are_told(tiny, monkeypatch):
    model = LeanformerForMaskedLM(tiny())
    with pytest.raises(ValueError, match="'fp8': it is one of bf16, int8"):
        for_inference(model, "fp8")
    with pytest.raises(ValueError, match="move it, or take bf16"):
        for_inference(model.to("meta"), "int8")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    with pytest.raises(ValueError, match="x86"):
        Int8Linear(nn.Linear(3, 5))
