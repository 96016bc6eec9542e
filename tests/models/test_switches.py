"""Switches of the block, each against its formula: biases, gated feed-forward, query-key norm, outputs from zero."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers import AutoModelForMaskedLM

from leanformer import LeanformerForCausalLM, LeanformerForConditionalGeneration, LeanformerForMaskedLM, LeanformerModel
from leanformer.attention import MultiHeadAttention, Shape, mechanism, names
from leanformer.attention.head_norm import HeadNorm
from leanformer.models import LeanformerForSequenceClassification
from leanformer.models.cost import ledger
from leanformer.models.initialisation import initialise

SWITCHES = {"biases": False, "feed_forward": "gated", "qk_norm": True, "zero_outputs": True}
ALONE = [{key: value} for key, value in SWITCHES.items()]
EVERY = [
    dict(zip(SWITCHES, values, strict=True))
    for values in itertools.product((True, False), ("plain", "gated"), (False, True), (False,))
]
ZEROS = ("attention.output.weight", "feed_forward.down.weight")
SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
CLASSES = [LeanformerForMaskedLM, LeanformerForCausalLM, LeanformerForConditionalGeneration]


def formula(weights, config, ids):
    """Logits of the masked language model by `weights`, from sums and products: no layer and no kernel."""
    heads, size = config.num_attention_heads, config.shape().head_size

    def linear(x, name):
        y = torch.einsum("bld,ed->ble", x, weights[f"{name}.weight"])
        return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        y = centred / (centred.pow(2).mean(-1, keepdim=True) + config.layer_norm_eps).sqrt() * weights[f"{name}.weight"]
        return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y

    def gelu(x):
        return x * (1 + torch.erf(x / math.sqrt(2))) / 2

    def compared(x, path, which):
        y = linear(x, f"{path}.{which}").unflatten(-1, (heads, size))
        if config.qk_norm:
            y = y * weights[f"{path}.{which}_norm.weight"] / (y.pow(2).sum(-1, keepdim=True) / size + 1e-6).sqrt()
        if config.positions == "rotary":
            half = size // 2
            angle = torch.arange(y.shape[1])[:, None, None] * 10_000.0 ** (-torch.arange(half).double() / half)
            turned = torch.complex(y[..., :half], y[..., half:]) * torch.polar(torch.ones_like(angle), angle)
            y = torch.cat((turned.real, turned.imag), -1)
        return y

    def attention(x, path):
        query, key = (compared(x, f"{path}.projection", which) for which in ("query", "key"))
        value = linear(x, f"{path}.projection.value").unflatten(-1, (heads, size))
        scores = torch.einsum("blhk,bmhk->bhlm", query, key) / math.sqrt(size)
        context = torch.einsum("bhlm,bmhk->blhk", scores.softmax(-1), value)
        return linear(context.flatten(-2), f"{path}.output")

    def feed_forward(x, path):
        if config.feed_forward == "gated":
            return linear(gelu(linear(x, f"{path}.gate")) * linear(x, f"{path}.up"), f"{path}.down")
        return linear(gelu(linear(x, f"{path}.up")), f"{path}.down")

    x = weights["encoder.embeddings.word_embeddings.weight"][ids]
    x = x + weights["encoder.embeddings.token_type_embeddings.weight"][0]
    if config.positions == "learned":
        x = x + weights["encoder.embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = norm(x, "encoder.embeddings.norm")
    for layer in range(config.num_hidden_layers):
        for step, name in ((attention, "attention"), (feed_forward, "feed_forward")):
            path = f"encoder.layers.{layer}.{name}"
            if config.norm == "pre":
                x = x + step(norm(x, f"{path}_norm"), path)
            else:
                x = norm(x + step(x, path), f"{path}_norm")
    if config.norm == "pre":
        x = norm(x, "encoder.last_norm")
    x = norm(gelu(linear(x, "head.transform")), "head.norm")
    return x @ weights["encoder.embeddings.word_embeddings.weight"].T + weights["head.decoder.bias"]


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
@pytest.mark.parametrize(
    "switches",
    [{}, *ALONE, SWITCHES, SWITCHES | {"norm": "pre", "positions": "rotary"}],
    ids=lambda switches: "-".join(switches) or "none",
)
def test_values_and_gradients_equal_the_formula(tiny, scattered, switches, kernel):
    model = scattered(LeanformerForMaskedLM(tiny(**switches)).double())
    model.set_attn_implementation(kernel)
    ids = torch.randint(1, 101, (3, 11))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # in which rotary angles are made
    try:
        logits = model(ids).logits
        weights = {key: p.detach().clone().requires_grad_() for key, p in model.named_parameters()}
        expected = formula(weights, model.config, ids)
    finally:
        torch.set_default_dtype(before)
    assert_close(logits, expected, rtol=1e-10, atol=1e-10)
    logits.sin().sum().backward()
    expected.sin().sum().backward()
    for key, parameter in model.named_parameters():
        assert_close(parameter.grad, weights[key].grad, rtol=1e-8, atol=1e-9, msg=lambda m, key=key: f"{key}: {m}")


@pytest.mark.parametrize("attention", names())
def test_every_combination_is_counted(tiny, attention):
    for switches in EVERY:
        for norm in ("post", "pre"):
            config = tiny(attention=attention, norm=norm, **switches)
            with torch.device("meta"):
                model = LeanformerForMaskedLM(config)
            layer = model.encoder.layers[0].attention
            counted = ledger(config, 11)["parameters"]
            assert counted["total"] == model.num_parameters(), switches
            own = layer.num_params() - sum(p.numel() for p in layer.output.parameters())
            assert counted["attention_qkv"] == 2 * own, switches


def test_two_thirds_of_a_gated_layer_are_the_parameters_of_a_plain_one(tiny):
    plain = tiny(intermediate_size=36, biases=False)
    gated = tiny(intermediate_size=24, biases=False, feed_forward="gated")
    for part in ("parameters", "flops_per_token"):
        assert ledger(plain, 11)[part]["feed_forward"] == ledger(gated, 11)[part]["feed_forward"]


@pytest.mark.parametrize("attention", names())
def test_without_biases_only_the_scores_of_words_have_one(tiny, attention):
    config = tiny(attention=attention, norm="pre", biases=False, **SPECIAL)
    for model_class in CLASSES:
        left = {key for key, _ in model_class(config).named_parameters() if "bias" in key}
        assert left == ({"head.decoder.bias"} if model_class is LeanformerForMaskedLM else set())


def test_heads_of_tasks_keep_their_biases(tiny):
    model = LeanformerForSequenceClassification(tiny(biases=False))
    assert {key for key, _ in model.named_parameters() if "bias" in key} == {
        "encoder.pooler.dense.bias",
        "classifier.bias",
    }


@pytest.mark.parametrize("attention", names())
def test_queries_and_keys_are_normed_where_they_are_made(tiny, attention):
    keys = {
        key for key in LeanformerModel(tiny(attention=attention, qk_norm=True)).state_dict() if ".attention." in key
    }
    gains = {key.rpartition("projection.")[2] for key in keys if "_norm.weight" in key}
    tied = {"symmetric", "pairwise", "phased", "random+symmetric", "random+pairwise"}
    made = {"dot_product", "shared", "random+dot_product", "dense+dot_product", "random+shared"}
    made |= {name for name in names() if mechanism(name).compares} - tied
    expected = {"token_norm.weight"} if attention in tied else set()
    expected |= {"query_norm.weight", "key_norm.weight"} if attention in made else set()
    expected |= {"latent_norm.weight"} if attention == "latent" else set()  # there with and without the others
    assert gains == expected


def test_a_norm_hides_the_length_of_a_query_and_a_key(tiny, scattered, batch):
    model = scattered(LeanformerModel(tiny(qk_norm=True, biases=False)).double())
    before = model(**batch).last_hidden_state
    with torch.no_grad():
        for layer in model.layers:
            layer.attention.projection.query.weight.mul_(30)
            layer.attention.projection.key.weight.mul_(0.5)
    assert_close(model(**batch).last_hidden_state, before, rtol=1e-4, atol=1e-4)


def test_normed_symmetric_scores_stay_a_gram_matrix(tiny, scattered):
    layer = scattered(LeanformerModel(tiny(attention="symmetric", qk_norm=True)).double()).layers[0].attention
    x = torch.randn(2, 11, 30, dtype=torch.float64)
    heads = layer.projection(x, x)
    assert heads.query is heads.key
    assert torch.linalg.eigvalsh(heads.query @ heads.key.mT).min() > -1e-9


def test_a_norm_stays_in_bf16_under_autocast(tiny, batch):
    model, seen = LeanformerForMaskedLM(tiny(**SWITCHES)), []
    hook = lambda module, inputs, heads: seen.extend((heads.query.dtype, heads.key.dtype, heads.value.dtype))  # noqa: E731
    model.encoder.layers[0].attention.projection.register_forward_hook(hook)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(**batch, labels=batch["input_ids"]).loss.backward()
    assert seen == [torch.bfloat16] * 3


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-5), (torch.bfloat16, 0.03)]
)
def test_the_norm_is_pytorchs(dtype, tolerance):
    norm = HeadNorm(Shape(21, 3, 5, qk_norm=True)).to(dtype)
    x = torch.randn(2, 3, 5, 7).to(dtype).requires_grad_()
    x.data[0, 0, 0] = 0
    with torch.no_grad():
        norm.weight.normal_()
    outcomes = []
    for y in (norm(x), torch.nn.functional.rms_norm(x, (7,), norm.weight, 1e-6)):
        assert y.dtype == dtype
        outcomes.append((y, *torch.autograd.grad(y.sin().sum(), (x, norm.weight))))
    assert outcomes[0][0][0, 0, 0].abs().max() == 0
    for ours, theirs in zip(*outcomes, strict=True):
        assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def outputs(model):
    """The maps that write into the residual stream."""
    attentions = [module.output for module in model.modules() if isinstance(module, MultiHeadAttention)]
    return attentions + [layer.feed_forward.down for layer in model.modules() if hasattr(layer, "feed_forward")]


@pytest.mark.parametrize("model_class", CLASSES)
@pytest.mark.parametrize("ours", [True, False], ids=["initialise", "post_init"])
def test_outputs_start_at_zero_and_all_else_as_ever(tiny, model_class, ours):
    models = []
    for zero in (False, True):
        torch.manual_seed(3)
        models.append(model_class(tiny(zero_outputs=zero, **SPECIAL)))
        if ours:
            initialise(models[-1], 1)
    drawn, zeroed = models
    assert all(linear.weight.any() for linear in outputs(drawn))
    assert len(outputs(zeroed)) == (10 if model_class is LeanformerForConditionalGeneration else 4)
    assert not any(parameter.any() for linear in outputs(zeroed) for parameter in linear.parameters())
    zeros = {id(linear.weight) for linear in outputs(zeroed)}
    for (key, ours), (_, theirs) in zip(zeroed.named_parameters(), drawn.named_parameters(), strict=True):
        assert id(ours) in zeros or torch.equal(ours, theirs), key


def test_every_step_starts_as_the_identity_and_learns(tiny, batch):
    model = AutoModelForMaskedLM.from_config(tiny(norm="pre", zero_outputs=True, feed_forward="gated", biases=False))
    output = model.encoder(**batch, output_hidden_states=True)
    assert torch.equal(output.hidden_states[0], output.hidden_states[1])
    for step in range(2):  # behind a zero nothing learns in the first step, but the zero itself does
        model.zero_grad()
        model(**batch, labels=batch["input_ids"]).loss.backward()
        still = {key for key, parameter in model.named_parameters() if ".layers." in key and not parameter.grad.any()}
        behind = {key for key, _ in model.named_parameters() if ".layers." in key and not key.endswith(ZEROS)}
        assert still == (behind if step == 0 else set())
        torch.optim.SGD(model.parameters(), lr=1.0).step()


@pytest.mark.parametrize("model_class", [*CLASSES, LeanformerForSequenceClassification])
def test_saved_and_loaded_it_is_the_same_model(tiny, scattered, tmp_path, model_class):
    model = scattered(model_class(tiny(**SWITCHES, **SPECIAL)))
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    assert {key: getattr(loaded.config, key) for key in SWITCHES} == SWITCHES
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_a_new_head_leaves_loaded_outputs_alone(tiny, scattered, tmp_path):
    model = scattered(LeanformerForMaskedLM(tiny(**SWITCHES)))
    model.save_pretrained(tmp_path)
    tuned = LeanformerForSequenceClassification.from_pretrained(tmp_path)
    for old, new in zip(outputs(model), outputs(tuned), strict=True):
        assert torch.equal(old.weight, new.weight)


def test_a_gated_layer_starts_from_the_plain_ones_weights(tiny):
    plain, gated = (LeanformerForMaskedLM(tiny(feed_forward=kind)) for kind in ("plain", "gated"))
    for model in (plain, gated):
        initialise(model, 1)
    ours, theirs = dict(gated.named_parameters()), dict(plain.named_parameters())
    assert theirs.keys() < ours.keys()
    for key, value in theirs.items():
        assert torch.equal(ours[key], value), key
    gate, up = (ours[f"encoder.layers.0.feed_forward.{name}.weight"] for name in ("gate", "up"))
    assert gate.std() > 0 and not torch.equal(gate, up)


def test_the_defaults_are_berts(tiny):
    model = LeanformerForMaskedLM(tiny())
    assert all(m.bias is not None for m in model.modules() if isinstance(m, nn.Linear | nn.LayerNorm))
    assert not [key for key in model.state_dict() if "gate" in key or "query_norm" in key or "key_norm" in key]


@pytest.mark.parametrize("model_class", CLASSES)
@pytest.mark.parametrize("norm", ["post", "pre"])
def test_a_bf16_residual_is_bf16_in_mixed_precision_alone_and_near_the_float32_one(tiny, model_class, norm):
    torch.manual_seed(1)
    wide = model_class(tiny(norm=norm, **SPECIAL))
    narrow = model_class(tiny(norm=norm, residual_in_fp32=False, **SPECIAL))
    narrow.load_state_dict(wide.state_dict())
    ids = torch.randint(5, 101, (3, 7))

    def results(model, mixed):
        seen = []
        block = next(module for module in model.modules() if type(module).__name__ in ("Block", "DecoderBlock"))
        with block.register_forward_hook(lambda *hooked: seen.append(hooked[2].dtype)):
            with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
                loss = model(input_ids=ids, labels=ids).loss
            model.zero_grad()
            loss.backward()
        return seen[0], loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    exact = results(wide, mixed=False)
    plain = results(narrow, mixed=False)
    assert plain[0] == torch.float32
    assert_close(plain[1:], exact[1:], rtol=0, atol=0)
    assert results(wide, mixed=True)[0] == torch.float32
    dtype, loss, gradients = results(narrow, mixed=True)
    assert dtype == torch.bfloat16
    assert_close(loss.float(), exact[1], rtol=2**-8, atol=0)
    error = (gradients - exact[2]).norm() / exact[2].norm()
    assert error < 2**-5, f"the gradients differ by {error:.3f} of their norm"
