"""Counts are exact: closed forms against built models and PyTorch's own counter."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import ConvBertConfig, ConvBertModel

from leanformer import LeanformerConfig, models
from leanformer.attention import PROJECTIONS, MultiHeadAttention, mechanism, names
from leanformer.models.cost import HEADS, ledger

BERT_BASE = {
    "dot_product": (109_514_298, 1_771_776),
    "symmetric": (102_427_194, 1_181_184),
    "pairwise": (103_017_018, 1_230_336),
    "shared": (95_367_738, 592_896),
}
GROUPED = {torch.ops.aten.convolution_backward: lambda *shapes, out_shape: 4 * shapes[1][2] * math.prod(shapes[2])}
"""A depthwise convolution's two products; PyTorch's own formula takes its gradient for that of a full one."""
PER_TOKEN = ("embeddings", "attention", "feed_forward", "head")
CLASSES = dict(
    zip(
        HEADS,
        (
            models.LeanformerModel,
            models.LeanformerForMaskedLM,
            models.LeanformerForSequenceClassification,
            models.LeanformerForTokenClassification,
            models.LeanformerForQuestionAnswering,
            models.LeanformerForMultipleChoice,
            models.LeanformerForCausalLM,
            models.LeanformerForConditionalGeneration,
        ),
        strict=True,
    )
)
VARIANTS = [
    {},
    {"positions": "rotary", "num_labels": 7},
    {"tie_word_embeddings": False, "num_hidden_layers": 3},
    {"intermediate_size": 5, "vocab_size": 211, "num_labels": 1, "head_size": 8},
    {"num_decoder_layers": 3, "decoder_attention": "random+dot_product", "cross_attention": "pairwise"},
    {"biases": False, "norm": "pre", "qk_norm": True, "feed_forward": "gated", "cross_attention": "symmetric"},
]


@pytest.mark.parametrize(
    ("options", "total", "flops"),
    [
        ({"kv_heads": 1}, 96_521_274, 1_376_256),
        ({"kv_heads": 4}, 100_064_826, 1_966_080),
        ({"kv_heads": 12}, 109_514_298, 3_538_944),
        ({"projection": "shared_key_value"}, 102_427_194, 2_359_296),
        ({"projection": "shared_key_value", "kv_heads": 4}, 97_702_458, 1_572_864),
        ({"projection": "shared_key_value", "kv_heads": 1}, 95_930_682, 1_277_952),
    ],
    ids=str,
)
def test_grouped_heads_of_bert_base_have_the_papers_counts(options, total, flops):
    """Parameters of the masked-LM model, and FLOPs per token of a layer's maps but the output's."""
    config = LeanformerConfig(attention_options=options)
    with torch.device("meta"):
        assert models.LeanformerForMaskedLM(config).num_parameters() == total
    assert ledger(config, 512)["parameters"]["total"] == total
    scores = 4 * 768 * 512  # of a token with 512, compared and mixed
    assert mechanism("dot_product").flops(config.shape(), 512, **options) == 512 * (flops + scores)


@pytest.mark.parametrize("attention", BERT_BASE)
def test_bert_base_has_the_published_counts(attention):
    total, qkv = BERT_BASE[attention]
    config = LeanformerConfig(attention=attention)
    with torch.device("meta"):
        model = models.LeanformerForMaskedLM(config)
    assert model.num_parameters() == total
    own = model.encoder.layers[0].attention
    assert sum(p.numel() for part in (own.projection, own.compatibility) for p in part.parameters()) == qkv
    counted = ledger(config, 512)["parameters"]
    assert (counted["total"], counted["attention_qkv"]) == (total, 12 * qkv)


@pytest.mark.parametrize("attention", names())
@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_equal_the_built_models(tiny, attention, variant):
    config = tiny(attention=attention, **variant)
    for head, model_class in CLASSES.items():
        with torch.device("meta"):
            model = model_class(config)
        counted = ledger(config, 11, head=head)["parameters"]
        stacks = [m for m in model.modules() if isinstance(m, models.LeanformerModel | models.LeanformerDecoder)]
        layers = [layer for stack in stacks for layer in stack.layers]
        attentions = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
        tables = {p for stack in stacks for p in stack.embeddings.parameters()}
        tables -= {p for stack in stacks for p in stack.embeddings.norm.parameters()}
        tied = {p for stack in stacks for p in stack.parameters()}
        built = {
            "embeddings": sum(parameter.numel() for parameter in tables),
            "attention": sum(_size(attention) for attention in attentions),
            "attention_qkv": sum(_size(attention) - _size(attention.output) for attention in attentions),
            "feed_forward": sum(_size(layer.feed_forward) for layer in layers),
            "norms": sum(_size(m) for stack in stacks for m in stack.modules() if isinstance(m, nn.LayerNorm)),
            "pooler": sum(_size(getattr(stack, "pooler", None)) for stack in stacks),
            "head": sum(parameter.numel() for parameter in model.parameters() if parameter not in tied),
            "total": model.num_parameters(),
        }
        assert {key: counted[key] for key in built} == built
        parts = ("embeddings", "attention", "feed_forward", "norms", "pooler", "head")
        assert sum(counted[key] for key in parts) == counted["total"]


@pytest.mark.parametrize("attention", names())
@pytest.mark.parametrize("variant", VARIANTS)
def test_flops_equal_pytorchs_counter(tiny, attention, variant):
    """Of one sequence: what depends on no example is computed once for a whole batch."""
    config = tiny(attention=attention, **variant)
    ids = torch.randint(1, 101, (1, 11))
    for head, model_class in CLASSES.items():
        inputs = {"input_ids": ids[None] if head == "multiple_choice" else ids}
        inputs |= {"decoder_input_ids": ids} if head == "seq2seq" else {}
        forward, training = _counted(model_class(config), inputs)
        expected = ledger(config, 11, head=head)["flops_per_token"]
        assert expected["forward"] * 11 == pytest.approx(forward, rel=1e-12)
        assert expected["training"] * 11 == pytest.approx(training, rel=1e-12)
        assert expected["forward"] == sum(expected[part] for part in PER_TOKEN)


@pytest.mark.parametrize("cross", [name for name in names() if mechanism(name).cross])
def test_every_cross_attention_is_counted(tiny, cross):
    config = tiny(cross_attention=cross)
    counted, ids = ledger(config, 11, head="seq2seq"), torch.randint(1, 101, (1, 11))
    model = models.LeanformerForConditionalGeneration(config)
    assert counted["parameters"]["total"] == model.num_parameters()
    forward, training = _counted(model, {"input_ids": ids, "decoder_input_ids": ids})
    per_token = counted["flops_per_token"]
    assert (per_token["forward"] * 11, per_token["training"] * 11) == pytest.approx((forward, training), rel=1e-12)


def check_masked(config):
    """A head, and the last block, on two tokens of eleven cost only these."""
    inputs = {"input_ids": torch.randint(1, 101, (1, 11)), "masked_positions": torch.tensor([[1, 5]])}
    found = _counted(models.LeanformerForMaskedLM(config), inputs)
    per_token = ledger(config, 11, masked_per_sequence=2)["flops_per_token"]
    assert (per_token["forward"] * 11, per_token["training"] * 11) == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize("attention", names())
def test_a_head_on_masked_positions_costs_only_them(tiny, attention):
    check_masked(tiny(attention))


@pytest.mark.parametrize("projection", [name for name in PROJECTIONS if name != "value_only"])
def test_every_projection_of_the_grid_is_counted(tiny, projection):
    config = tiny(attention="pairwise", attention_options={"projection": projection})
    assert ledger(config, 11)["parameters"]["total"] == models.LeanformerForMaskedLM(config).num_parameters()


@pytest.mark.parametrize("settings", [{}, {"biases": False, "positions": "rotary"}, {"tie_word_embeddings": False}])
def test_embeddings_narrower_than_the_trunk_are_counted(tiny, settings):
    config = tiny(embedding_size=13, **settings)
    for head in ("none", "masked_lm", "sequence_classification", "token_classification"):
        model = CLASSES[head](config)
        counted = ledger(config, 11, head=head)
        assert counted["parameters"]["total"] == model.num_parameters()
        tables = model.base_model.embeddings
        assert counted["parameters"]["embeddings"] == _size(tables) - _size(tables.norm)
        forward, training = _counted(model, {"input_ids": torch.randint(1, 101, (1, 11))})
        per_token = counted["flops_per_token"]
        assert (per_token["forward"] * 11, per_token["training"] * 11) == pytest.approx((forward, training), rel=1e-12)
        assert per_token["forward"] == sum(per_token[part] for part in PER_TOKEN)


MIXED = [
    {"mixer": "convolution"},
    {"mixer": "convolution", "mixer_options": {"head_ratio": 3, "kernel": 5}, "attention": "pairwise", "biases": False},
    {"mixer": "convolution", "attention": "shared", "qk_norm": True, "positions": "rotary", "head_size": 8},
    {"mixer": "clusters"},
    {"mixer": "clusters", "mixer_options": {"scales": 2, "ratio": 5}, "biases": False, "qk_norm": True},
    {"mixer": "clusters", "mixer_options": {"clusters": 3}, "attention": "symmetric", "head_size": 8},
    {"mixer": "fourier"},
    {"mixer": "linear", "biases": False},
    {"mixer": "gmlp", "norm": "pre"},
    {"mixer": "gmlp", "mixer_options": {"inner_size": 14, "toeplitz": False, "tiny_attention": 7}, "biases": False},
    {"mixer": "gmlp", "mixer_options": {"tiny_attention": 8, "tiny_mechanism": "fixed_random"}},
    {"mixer": "shaped"},
    {"mixer": "shaped", "attention": "pairwise", "positions": "rotary", "biases": False, "qk_norm": True},
    {"mixer": "shaped", "attention": "random+dot_product", "mixer_options": {"value_map": True}},
    {"mixer": "shaped", "mixer_options": {"value_map": True, "output_map": True}, "head_size": 8},
    {"feed_forward_groups": 3, "intermediate_size": 33},
    {"feed_forward_groups": 2, "intermediate_size": 34, "feed_forward": "gated", "biases": False},
]


@pytest.mark.parametrize("settings", MIXED)
def test_mixers_and_groups_are_counted(tiny, settings):
    config = tiny(**settings)
    for head in ("none", "masked_lm", "token_classification"):
        model = CLASSES[head](config)
        counted = ledger(config, 11, head=head)
        assert counted["parameters"]["total"] == model.num_parameters()
        layers = model.base_model.layers
        assert counted["parameters"]["attention"] == sum(_size(layer.attention) for layer in layers)
        assert counted["parameters"]["attention"] == sum(layer.attention.num_params() for layer in layers)
        assert counted["parameters"]["feed_forward"] == sum(_size(layer.feed_forward) for layer in layers)
        forward, training = _counted(model, {"input_ids": torch.randint(1, 101, (1, 11))})
        per_token = counted["flops_per_token"]
        assert (per_token["forward"] * 11, per_token["training"] * 11) == pytest.approx((forward, training), rel=1e-12)
    check_masked(config)


def test_scores_are_those_of_the_heads_that_attend(tiny):
    assert ledger(tiny(), 11)["scores_per_token"] == 2 * 3 * 11
    assert ledger(tiny(mixer="convolution"), 11)["scores_per_token"] == 2 * 1 * 11
    assert ledger(tiny(mixer="clusters"), 11)["scores_per_token"] == 2 * 3 * 3
    fine = tiny(mixer="clusters", mixer_options={"scales": 2, "clusters": 2})
    assert ledger(fine, 11)["scores_per_token"] == 2 * 3 * (2 + 8)
    assert ledger(tiny(mixer="shaped"), 11)["scores_per_token"] == 2 * 3 * 11
    assert ledger(tiny(mixer="gmlp"), 11)["scores_per_token"] == 0
    assert ledger(tiny(mixer="gmlp", mixer_options={"tiny_attention": 8}), 11)["scores_per_token"] == 2 * 11
    assert ledger(tiny(), 11, head="seq2seq")["scores_per_token"] == 3 * 2 * 3 * 11


def test_convberts_base_has_the_published_counts():
    """Hugging Face's; a block of attention 2,094,774 for BERT's 2,362,368."""
    with torch.device("meta"):
        model = models.LeanformerModel(LeanformerConfig(mixer="convolution"), add_pooling_layer=False)
        theirs = ConvBertModel(ConvBertConfig())
    assert model.num_parameters() == theirs.num_parameters() == 105_680_520
    assert model.layers[0].attention.num_params() == 2_094_774


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"mixer": "fourier"}, 81_165_882),
        ({"mixer": "linear"}, 91_389_498),
        ({"mixer": "shaped"}, 95_340_522),
        ({"mixer": "shaped", "attention": "symmetric"}, 95_340_522 - 12 * 590_592),
    ],
)
def test_bert_base_with_another_mixer_has_these_counts(settings, expected):
    with torch.device("meta"):
        model = models.LeanformerForMaskedLM(LeanformerConfig(**settings))
    assert ledger(model.config, 512)["parameters"]["total"] == model.num_parameters() == expected


def test_gmlps_base_is_as_large_as_published():
    """Liu et al. 2021, table 4: 130 M, and 109 M with tiny attention at 36 layers, of length 128."""
    sizes = {"hidden_size": 512, "num_attention_heads": 8, "max_position_embeddings": 128, "norm": "pre"}
    sizes |= {"mixer": "gmlp", "block": "mixing_only", "vocab_size": 32_000}
    for layers, tiny, published in ((48, 0, 130), (36, 64, 109)):
        options = {"inner_size": 3072, "tiny_attention": tiny}
        config = LeanformerConfig(num_hidden_layers=layers, mixer_options=options, **sizes)
        total = ledger(config, 128)["parameters"]["total"]
        assert abs(total / 1e6 - published) < 2


def test_an_unknown_head_is_refused(tiny):
    with pytest.raises(ValueError, match="head = 'mlm': known are none, masked_lm"):
        ledger(tiny(), 11, head="mlm")


def _size(module):
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())


def _counted(model, inputs):
    """FLOPs of a forward pass, and of it with its backward pass, by PyTorch's counter, which is blind to CPU's SDPA."""
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False, custom_mapping=GROUPED) as counter:
        outputs = model.train()(**inputs)
        forward = counter.get_total_flops()
        sum(output.sum() for output in outputs.values()).backward()
    return forward, counter.get_total_flops()
