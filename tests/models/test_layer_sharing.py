"""Models whose layers share: equal to unshared models with copied weights, with fewer weights that are stored once."""

import copy

import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from leanformer import LeanformerConfig, LeanformerForCausalLM, LeanformerForMaskedLM, LeanformerModel, models
from leanformer.models.cost import ledger
from leanformer.models.initialisation import initialise
from leanformer.models.layer_sharing import layer_sharing, unshared

WEIGHTS = ("all", "blocks:2", "cycle:2", "attention", "feed_forward")
ATOMS = ("atoms:2", "atoms_qkvo:3")
PLANS = (*WEIGHTS, "kv:2", "kv:3", "kv:half", *ATOMS)
BERT_BASE = {
    "none": 109_514_298,
    "all": 31_547_706,
    "blocks:2": 38_635_578,
    "blocks:3": 45_723_450,
    "cycle:3": 45_723_450,
    "blocks:4": 52_811_322,
    "cycle:6": 66_987_066,
    "attention": 83_528_250,
    "feed_forward": 57_567_546,
    "kv:2": 102_427_194,
    "kv:3": 100_064_826,
    "kv:half": 103_608_378,
    "atoms:4": 95_358_666,
    "atoms_qkvo:4": 90_640_122,
}
NARROW = {"none": 89_255_610, "all": 11_289_018, "attention": 63_269_562, "feed_forward": 37_308_858}
"""With embeddings of 128."""


old_name_of_checkpointing = pytest.mark.filterwarnings("ignore:.(is_)?gradient_checkpointing:FutureWarning")


@pytest.mark.parametrize(
    ("settings", "total"),
    [({"layer_sharing": plan}, total) for plan, total in BERT_BASE.items()]
    + [({"layer_sharing": plan, "embedding_size": 128}, total) for plan, total in NARROW.items()]
    + [
        ({"layer_sharing": "kv:2", "attention": "multi_query"}, 95_930_682),
        ({"layer_sharing": "kv:2", "attention_options": {"kv_heads": 1}}, 95_930_682),
        ({"layer_sharing": "atoms:4", "attention": "symmetric"}, 102_427_194 - 2 * (8 * 768**2 - 12 * 4)),
        (
            {"layer_sharing": "atoms:4", "attention_options": {"kv_heads": 1}},
            96_521_274 - (8 * 768**2 - 12 * 4) - 2 * (8 * 768 * 64 - 12 * 4),
        ),
    ],
    ids=str,
)
def test_bert_base_has_the_published_counts(settings, total):
    config = LeanformerConfig(**settings)
    with torch.device("meta"):
        model = LeanformerForMaskedLM(config)
    assert model.num_parameters() == total
    assert ledger(config, 512)["parameters"]["total"] == total


def test_weights_are_shared_and_products_are_not():
    """Only keys and values that layers share spare products: 2 L (2 D E) each."""
    alone = ledger(LeanformerConfig(), 128, 19)["flops_per_token"]
    for plan in WEIGHTS:
        assert ledger(LeanformerConfig(layer_sharing=plan), 128, 19)["flops_per_token"] == alone
    fewer = ledger(LeanformerConfig(layer_sharing="kv:3"), 128, 19)["flops_per_token"]
    assert alone["attention"] - fewer["attention"] == 8 * 4 * 768 * 768


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("attention", ["dot_product", "pairwise[separate]"])
def test_counts_are_the_built_models(tiny, plan, attention):
    name, _, projection = attention.partition("[")
    options = {"attention_options": {"projection": "separate"}} if projection else {}
    for norm, biases in (("post", True), ("pre", False)):
        config = tiny(name, num_hidden_layers=5, layer_sharing=plan, norm=norm, biases=biases, qk_norm=True, **options)
        for kind, head in ((LeanformerForMaskedLM, "masked_lm"), (LeanformerForCausalLM, "causal_lm")):
            model = kind(config).eval()
            model.set_attn_implementation("eager")
            counted = ledger(config, 11, 3, head)
            assert model.num_parameters() == counted["parameters"]["total"]
            ids = torch.randint(1, 101, (1, 11))
            places = {"masked_positions": torch.tensor([[1, 4, 9]])} if head == "masked_lm" else {}
            with FlopCounterMode(display=False) as counter, torch.no_grad():
                model(ids, **places)
            assert counter.get_total_flops() == round(11 * counted["flops_per_token"]["forward"])


def spread(shared):
    """The model that shares no weights, with the same values."""
    config = LeanformerConfig.from_dict(shared.config.to_dict() | {"layer_sharing": "none"})
    other = type(shared)(config).double().eval()
    state = shared.state_dict()
    for prefix, depth in (("encoder", config.num_hidden_layers), ("decoder", config.decoder_depth())):
        plan = layer_sharing(shared.config.layer_sharing, depth)
        state = unshared(state, plan, f"{prefix}.layers.")
    other.load_state_dict(state)
    return other


@pytest.mark.parametrize("plan", WEIGHTS)
def test_outputs_and_gradients_are_those_of_an_unshared_model(tiny, scattered, batch, plan):
    """In float64; the gradient of what is shared is the sum of the copies' gradients."""
    shared = scattered(LeanformerForMaskedLM(tiny(num_hidden_layers=5, layer_sharing=plan)).double())
    other = spread(shared)
    places = torch.tensor([[1, 4], [0, 3], [2, 7]])
    assert_close(shared(**batch).logits, other(**batch).logits, rtol=1e-12, atol=1e-12)
    for model in (shared, other):
        model(**batch, masked_positions=places).logits.square().sum().backward()
    found = {name: parameter.grad for name, parameter in shared.named_parameters()}
    copies: dict[str, torch.Tensor] = {}
    plan_of = layer_sharing(plan, 5)
    for name, parameter in other.named_parameters():
        if name.startswith("encoder.layers."):
            number, rest = name.removeprefix("encoder.layers.").split(".", 1)
            home = 0 if rest.split(".")[0] in plan_of.lent else plan_of.blocks[int(number)]
            name = f"encoder.layers.{home}.{rest}"
        copies[name] = copies.get(name, 0) + parameter.grad
    assert found.keys() == copies.keys()
    for name, gradient in found.items():
        assert_close(gradient, copies[name], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("plan", WEIGHTS)
def test_decoders_equal_unshared_ones(tiny, scattered, plan):
    config = tiny(num_hidden_layers=4, num_decoder_layers=3, layer_sharing=plan, decoder_start_token_id=1)
    ids, labels = torch.randint(1, 101, (2, 7)), torch.randint(1, 101, (2, 5))
    for kind in (LeanformerForCausalLM, models.LeanformerForConditionalGeneration):
        shared = scattered(kind(copy.deepcopy(config)).double())
        given = {"labels": labels} if kind is not LeanformerForCausalLM else {}
        assert_close(shared(ids, **given).logits, spread(shared)(ids, **given).logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("projection", "key_map", "value_map"), [("separate", "key", "value"), ("shared_key_value", *2 * ("key_value",))]
)
def test_shared_keys_and_values_equal_the_formula(projection, key_map, value_map, tiny, scattered):
    """Layer by layer: each compares its own queries with the keys that layer 2 floor(l / 2) made."""
    settings = {"layer_sharing": "kv:2", "qk_norm": True, "attention_options": {"projection": projection}}
    model = scattered(LeanformerModel(tiny(num_hidden_layers=5, **settings)).double())
    ids, mask = torch.randint(1, 101, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    mask[1, 5:] = False
    states = model(ids, attention_mask=mask, output_hidden_states=True).hidden_states
    assert len(states) == 6
    for number, layer in enumerate(model.layers):
        x, source = states[number], states[number - number % 2]
        maker = model.layers[number - number % 2].attention
        query, key, value = (
            linear(y).unflatten(-1, (3, 10)).transpose(1, 2)
            for linear, y in (
                (layer.attention.projection.query, x),
                (getattr(maker.projection, key_map), source),
                (getattr(maker.projection, value_map), source),
            )
        )
        query = layer.attention.projection.query_norm(query)
        scores = query @ maker.projection.key_norm(key).mT / 10**0.5
        weights = scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)
        attended = layer.attention.output((weights @ value).transpose(1, 2).flatten(2))
        y = layer.attention_norm(x + attended)
        assert_close(layer.feed_forward_norm(y + layer.feed_forward(y)), states[number + 1], rtol=1e-10, atol=1e-10)


def test_the_upper_half_attends_to_what_its_first_layer_makes(tiny, scattered):
    """Equal to a model of the last layers alone that hands on, read from the lower half's states."""
    model = scattered(LeanformerModel(tiny(num_hidden_layers=5, layer_sharing="kv:half")).double())
    ids = torch.randint(1, 101, (2, 7))
    states = model(ids, output_hidden_states=True).hidden_states
    maker = model.layers[2].attention.projection
    key, value = (f(states[2]).unflatten(-1, (3, 10)).transpose(1, 2) for f in (maker.key, maker.value))
    for number in (3, 4):
        layer, x = model.layers[number], states[number]
        query = layer.attention.projection.query(x).unflatten(-1, (3, 10)).transpose(1, 2)
        weights = (query @ key.mT / 10**0.5).softmax(-1)
        y = layer.attention_norm(x + layer.attention.output((weights @ value).transpose(1, 2).flatten(2)))
        assert_close(layer.feed_forward_norm(y + layer.feed_forward(y)), states[number + 1], rtol=1e-10, atol=1e-10)
    assert [len(list(layer.attention.projection.parameters())) for layer in model.layers] == [6, 6, 6, 2, 2]


@pytest.mark.parametrize("plan", ATOMS)
@pytest.mark.parametrize(
    ("attention", "options"), [("dot_product", {}), ("symmetric", {}), ("dot_product", {"kv_heads": 1}), ("random", {})]
)
def test_a_map_is_a_combination_of_atoms(tiny, scattered, batch, plan, attention, options):
    """Outputs equal those of a model with the matrices written out, and a gradient of an atom is sum_l c_l dW_l."""
    config = tiny(attention, num_hidden_layers=5, layer_sharing=plan, attention_options=options)
    shared = scattered(LeanformerForMaskedLM(config).double())
    other = spread(shared)
    assert_close(shared(**batch).logits, other(**batch).logits, rtol=1e-12, atol=1e-12)
    for model in (shared, other):
        model(**batch).logits.square().sum().backward()
    layers = other.encoder.layers
    for name, parameter in shared.named_parameters():
        if not name.endswith((".atoms.weight", ".coefficients")):
            continue
        kind = name.removesuffix(".atoms.weight").removesuffix(".coefficients").split(".", 3)[3]
        of_layers = torch.stack([layer.get_submodule(kind).weight.grad for layer in layers])
        maps = [layer.get_submodule(kind) for layer in shared.encoder.layers]
        if name.endswith("coefficients"):
            atoms = maps[0].atoms.weight
            expected = torch.einsum("soi,oi->s", atoms, of_layers[int(name.split(".")[2])])
        else:
            expected = torch.einsum("ls,loi->soi", torch.stack([each.coefficients for each in maps]), of_layers)
        assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-10)


def test_as_many_atoms_as_layers_are_the_plain_model(tiny):
    plain = LeanformerForMaskedLM(tiny(num_hidden_layers=3)).double().eval()
    made = LeanformerForMaskedLM(tiny(num_hidden_layers=3, layer_sharing="atoms_qkvo:3")).double().eval()
    state = plain.state_dict()
    for name in list(made.state_dict()):
        number, kind = name.split(".")[2], ".".join(name.split(".")[3:-1]).removesuffix(".atoms")
        if name.endswith(".atoms.weight"):
            state[name] = torch.stack([state[f"encoder.layers.{each}.{kind}.weight"] for each in range(3)])
        elif name.endswith(".coefficients"):
            state[name] = torch.eye(3, dtype=torch.float64)[int(number)]
    made.load_state_dict({name: state[name] for name in made.state_dict()})
    ids = torch.randint(1, 101, (2, 7))
    assert_close(made(ids).logits, plain(ids).logits, rtol=1e-12, atol=1e-12)


def test_atoms_start_with_maps_of_the_baselines_size(tiny):
    config = {"hidden_size": 240, "num_attention_heads": 3, "num_hidden_layers": 12}
    model = LeanformerForMaskedLM(tiny(**config, layer_sharing="atoms:4"))
    initialise(model, seed=1)
    maps = torch.stack([layer.attention.projection.query.weight.detach() for layer in model.encoder.layers])
    assert float(maps.std()) == pytest.approx(0.02, rel=0.3)
    assert torch.equal(model.encoder.layers[0].attention.projection.query.bias, torch.zeros(240))


def test_a_reader_makes_no_keys(tiny):
    model = LeanformerModel(tiny(num_hidden_layers=4, layer_sharing="kv:2"))
    names = [
        {name.split(".")[0] for name, _ in layer.attention.projection.named_parameters()} for layer in model.layers
    ]
    assert names == [{"query", "key", "value"}, {"query"}] * 2


@pytest.mark.parametrize("plan", ["kv:1", "blocks:5", "cycle:5"])
def test_a_plan_that_shares_nothing_is_the_plain_model(tiny, plan):
    ids = torch.randint(1, 101, (2, 7))
    outputs = []
    for value in ("none", plan):
        model = LeanformerForMaskedLM(tiny(num_hidden_layers=5, layer_sharing=value)).eval()
        initialise(model, seed=3)
        outputs.append(model(ids).logits)
    assert torch.equal(*outputs)


@old_name_of_checkpointing
@pytest.mark.parametrize("plan", ["all", "kv:2", "attention"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradients_are_those_without_checkpointing(tiny, scattered, batch, plan, reentrant):
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        model = scattered(LeanformerForMaskedLM(tiny(num_hidden_layers=4, layer_sharing=plan)).double()).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
        model(**batch).logits.square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("plan", PLANS)
def test_a_model_is_saved_once_and_read_again(tiny, scattered, batch, plan, tmp_path):
    model = scattered(LeanformerForMaskedLM(tiny(num_hidden_layers=5, layer_sharing=plan)))
    model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    assert sum(tensor.numel() for tensor in stored.values()) == model.num_parameters()
    again = LeanformerForMaskedLM.from_pretrained(tmp_path).eval()
    assert again.num_parameters() == model.num_parameters()
    assert_close(again(**batch).logits, model(**batch).logits)
    copied = copy.deepcopy(model)
    assert copied.num_parameters() == model.num_parameters()
    assert_close(copied(**batch).logits, model(**batch).logits)


@pytest.mark.parametrize("plan", PLANS)
def test_every_layer_is_seen(tiny, scattered, batch, plan):
    model = scattered(LeanformerModel(tiny(num_hidden_layers=5, layer_sharing=plan)))
    seen = model(**batch, output_hidden_states=True, output_attentions=True)
    assert len(seen.hidden_states) == 6
    assert [tuple(weights.shape) for weights in seen.attentions] == [(3, 3, 11, 11)] * 5
    assert_close(seen.last_hidden_state, model(**batch).last_hidden_state)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    assert_close(compiled(**batch).last_hidden_state, seen.last_hidden_state)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_a_cache_changes_no_token_of_a_shared_decoder(tiny, scattered, plan, cache):
    config = tiny(num_hidden_layers=5, layer_sharing=plan, bos_token_id=1, pad_token_id=0)
    model = scattered(LeanformerForCausalLM(config).double())
    ids, mask = torch.randint(1, 101, (2, 5)), torch.ones(2, 5, dtype=torch.long)
    mask[1, :2] = 0
    wanted = {"max_new_tokens": 9, "do_sample": False, "attention_mask": mask, "eos_token_id": None}
    expected = model.generate(ids, use_cache=False, **wanted)
    assert torch.equal(model.generate(ids, cache_implementation=cache, **wanted), expected)
    searched = model.generate(ids, num_beams=3, use_cache=False, **wanted)
    assert torch.equal(model.generate(ids, num_beams=3, **wanted), searched)


def test_a_decoder_caches_shared_keys_and_values_once(tiny):
    """Numbers per token: 2 E of every layer that makes them."""
    for plan, makers in (("none", 5), ("all", 5), ("kv:2", 3), ("kv:5", 1), ("kv:half", 3), ("atoms:2", 5)):
        model = LeanformerForCausalLM(tiny(num_hidden_layers=5, layer_sharing=plan)).eval()
        cache = model(torch.randint(1, 101, (1, 7)), use_cache=True).past_key_values
        kept = [layer for layer in cache.layers if layer.is_initialized]
        assert sum(layer.keys.numel() + layer.values.numel() for layer in kept) == makers * 2 * 30 * 7


@old_name_of_checkpointing
def test_lora_adapts_what_is_shared_once(tiny, batch):
    peft = pytest.importorskip("peft")
    for plan, adapted in (("all", 1), ("attention", 1), ("feed_forward", 4), ("kv:2", 2), ("kv:half", 3)):
        model = LeanformerModel(tiny(num_hidden_layers=4, layer_sharing=plan)).eval()
        expected = model(**batch).last_hidden_state
        wrapped = peft.get_peft_model(model, peft.LoraConfig(target_modules=["value"]))
        names = [name for name in wrapped.state_dict() if "value.lora_A" in name]
        assert len(names) == adapted
        assert_close(wrapped(**batch).last_hidden_state, expected)


def test_a_hook_in_a_shared_part_sees_all_tokens_of_the_last_layer(tiny, scattered):
    model = scattered(LeanformerForMaskedLM(tiny(layer_sharing="attention")))
    seen = []
    attention = model.encoder.layers[0].attention
    attention.register_forward_hook(lambda module, args, output: seen.append(output.shape[1]))
    model(torch.randint(1, 101, (1, 7)), masked_positions=torch.tensor([[1, 2]]))
    assert seen == [7, 7]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer_sharing": "al"}, "layer_sharing = 'al'; did you mean 'all'"),
        ({"layer_sharing": "blocks"}, "layer_sharing = 'blocks'; did you mean 'blocks:N'"),
        ({"layer_sharing": "blocks:0"}, "layer_sharing = 'blocks:0': N is a whole number from 1 to .* 2"),
        ({"layer_sharing": "cycle:3"}, "layer_sharing = 'cycle:3': N is a whole number from 1 to .* 2"),
        ({"layer_sharing": "kv:x"}, "layer_sharing = 'kv:x': N is a whole number"),
        ({"layer_sharing": "kv:2", "attention": "symmetric"}, "symmetric has no query map apart from its key"),
        ({"layer_sharing": "kv:2", "attention": "random"}, "random has no query map apart"),
        ({"layer_sharing": "kv:2", "mixer": "convolution"}, "mixer = 'convolution': .*keys and values that could be"),
        ({"layer_sharing": "atoms:1", "mixer": "convolution"}, "mixer = 'convolution': .*maps that could be made"),
        ({"layer_sharing": "atoms:3"}, "layer_sharing = 'atoms:3': N is a whole number from 1 to .* 2"),
        ({"layer_sharing": "atoms:1", "attention": "latent"}, "the maps of latent are of another kind"),
        ({"layer_sharing": "kv:halv"}, "layer_sharing = 'kv:halv': N is a whole number"),
        (
            {"layer_sharing": "all", "shared_heads": {"tie": "qk", "blocks": [[0, 1, 2], [3, 4, 5]]}},
            "leave it out of a model of layer_sharing = 'all'",
        ),
    ],
)
def test_wrong_plans_are_one_line(tiny, settings, message):
    with pytest.raises(Exception, match=message):
        tiny(**settings)
