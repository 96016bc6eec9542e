"""Decoders of every mechanism: no look ahead, and the same states with and without cache, padding and beams."""

import pytest
import torch
from torch.testing import assert_close
from transformers import DynamicCache, EncoderDecoderCache, StaticCache

from leanformer import LeanformerForCausalLM, LeanformerForConditionalGeneration
from leanformer.attention import mechanism, names

SPECIAL = {"pad_token_id": 1, "bos_token_id": 3, "eos_token_id": 2, "decoder_start_token_id": 3}
SMALL = {"hidden_size": 12, "intermediate_size": 13, "vocab_size": 53, "max_position_embeddings": 17}
CROSS = [name for name in names() if mechanism(name).cross]
GRID = [
    ("dot_product", {"projection": "shared_key_value"}),
    ("dot_product", {"projection": "shared_query_value"}),
    ("dense+dot_product", {"tie_query": True, "weights": "softmax"}),
    ("dot_product", {"kv_heads": 1}),
    ("dot_product", {"projection": "shared_key_value", "kv_heads": 1}),
    ("dot_product", {"projection": "value_from_key"}),
    ("latent", {"rank": 3, "rotary_size": 2}),
]
NORMED = [("dot_product", {}), ("symmetric", {}), ("shared", {}), ("random+pairwise", {}), *GRID]
SWITCHES = {"qk_norm": True, "biases": False, "feed_forward": "gated", "norm": "pre"}
ROWS = [*((name, {}) for name in names()), *GRID]


def row_id(row):
    return "-".join([row[0], *map(str, row[1].values())])


def skip_if_unfit(attention, settings):
    if mechanism(attention).rotary and settings["positions"] != "rotary":
        pytest.skip(f"{attention} needs rotary positions")


@pytest.fixture(params=["learned", "rotary"])
def settings(request):
    return SMALL | SPECIAL | {"positions": request.param}


@pytest.fixture(params=ROWS, ids=row_id)
def model(request, tiny, scattered, settings):
    attention, options = request.param
    skip_if_unfit(attention, settings)
    config = tiny(attention=attention, attention_options=options, **settings)
    return scattered(LeanformerForCausalLM(config)).double()


@pytest.fixture(params=ROWS, ids=row_id)
def translator(request, tiny, scattered, settings):
    attention, options = request.param
    skip_if_unfit(attention, settings)
    cross = {"cross_attention": attention, "cross_attention_options": options} if mechanism(attention).cross else {}
    config = tiny(attention=attention, attention_options=options, num_decoder_layers=3, **cross, **settings)
    return scattered(LeanformerForConditionalGeneration(config)).double()


@pytest.fixture
def ids():
    return torch.randint(4, 53, (3, 11))


@pytest.fixture
def source():
    mask = torch.ones(3, 7, dtype=torch.long)
    mask[1, 5:] = 0
    return {"input_ids": torch.randint(4, 53, (3, 7)), "attention_mask": mask}


def stepwise(model, pieces, **inputs):
    """Logits of a sequence that is read in pieces, each remembering those before."""
    cache, logits = None, []
    name = "decoder_input_ids" if model.config.is_encoder_decoder else "input_ids"
    for piece in pieces:
        outputs = model(**{name: piece}, past_key_values=cache, use_cache=True, **inputs)
        cache = outputs.past_key_values
        logits.append(outputs.logits)
    return torch.cat(logits, dim=1), cache


@torch.no_grad()
def test_cached_steps_equal_the_whole(model, ids):
    whole = model(ids).logits
    for sizes in ([1] * 11, [5, 1, 1, 4]):
        logits, cache = stepwise(model, ids.split(sizes, dim=1))
        assert_close(logits, whole)
        assert isinstance(cache, DynamicCache) and cache.get_seq_length() == 11


@torch.no_grad()
def test_cached_steps_of_an_encoder_decoder_equal_the_whole(translator, ids, source):
    whole = translator(**source, decoder_input_ids=ids).logits
    logits, cache = stepwise(translator, ids.split([4, 1, 1, 5], dim=1), **source)
    assert_close(logits, whole)
    assert isinstance(cache, EncoderDecoderCache) and cache.get_seq_length() == 11
    assert len(cache.self_attention_cache) == len(cache.cross_attention_cache) == 3


@torch.no_grad()
@pytest.mark.parametrize("row", NORMED, ids=row_id)
def test_what_is_cached_is_normed(tiny, scattered, settings, ids, source, row):
    attention, options = row
    if mechanism(attention).cross:
        settings = settings | {"cross_attention": attention, "cross_attention_options": options}
    config = tiny(attention=attention, attention_options=options, **SWITCHES, **settings)
    alone = scattered(LeanformerForCausalLM(config)).double()
    assert_close(stepwise(alone, ids.split([5, 1, 1, 4], dim=1))[0], alone(ids).logits)
    whole = scattered(LeanformerForConditionalGeneration(config)).double()
    logits, _ = stepwise(whole, ids.split([4, 1, 1, 5], dim=1), **source)
    assert_close(logits, whole(**source, decoder_input_ids=ids).logits)


CACHED = {  # numbers per token and layer, of H = 6 heads of K = 4: keys and values
    ("dot_product", ()): 2 * 6 * 4,
    ("dot_product", (("kv_heads", 2),)): 2 * 2 * 4,
    ("dot_product", (("kv_heads", 1),)): 2 * 4,
    ("multi_query", ()): 2 * 4,
    ("symmetric", ()): 2 * 6 * 4,
    ("dot_product", (("projection", "shared_key_value"),)): 6 * 4,
    ("dot_product", (("projection", "shared_key_value"), ("kv_heads", 3))): 3 * 4,
    ("pairwise", (("projection", "shared_key_value"), ("kv_heads", 1))): 4,
    ("shared", ()): 6 * 4,
    ("random", ()): 6 * 4,
    ("dot_product", (("projection", "value_from_key"),)): 6 * 4,
    ("latent", ()): 4 * 4,
    ("latent", (("rank", 5),)): 5,
    ("latent", (("rank", 5), ("rotary_size", 2))): 5 + 2,
    ("pairwise", (("projection", "latent"), ("rank", 3))): 3,
}


@torch.no_grad()
@pytest.mark.parametrize("more", [{}, {"qk_norm": True}], ids=["plain", "qk_norm"])
@pytest.mark.parametrize("row", CACHED, ids=str)
def test_a_cache_is_as_small_as_the_formula_says(tiny, scattered, settings, ids, row, more):
    """Bytes of the storages that the cache holds, in float64."""
    skip_if_unfit(row[0], settings)
    sizes = settings | {"hidden_size": 24, "num_attention_heads": 6}
    if row[0] == "random" and settings["positions"] == "rotary":
        pytest.skip("random sees no rotary positions")
    config = tiny(attention=row[0], attention_options=dict(row[1]), **more, **sizes)
    model = scattered(LeanformerForCausalLM(config)).double()
    logits, cache = stepwise(model, ids.split([4, 1, 1, 5], dim=1))
    assert_close(logits, model(ids).logits)
    for layer in cache.layers:
        storages = {tensor.data_ptr(): tensor.nbytes for tensor in (layer.keys, layer.values) if tensor.numel()}
        assert sum(storages.values()) == 8 * 3 * 11 * CACHED[row]


@torch.no_grad()
def test_the_source_is_projected_once(tiny, scattered, settings, ids, source):
    model, seen = scattered(LeanformerForConditionalGeneration(tiny(**settings))), []
    projection = model.decoder.layers[0].cross_attention.projection
    projection.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1].shape[1]))
    stepwise(model, ids.split([4, 1, 6], dim=1), **source)
    assert seen == [7, 0, 0]


@torch.no_grad()
def test_the_future_has_no_say(model, ids):
    other = torch.cat((ids[:, :6], ids[:, 6:] % 49 + 4), dim=1)
    before, after = model(ids).logits, model(other).logits
    assert_close(after[:, :6], before[:, :6], rtol=0, atol=0)
    assert (after[:, 6:] - before[:, 6:]).abs().amin(dim=-1).max() > 0


@torch.no_grad()
def test_the_past_has_a_say(model, ids):
    other = torch.cat((ids[:, :1] % 49 + 4, ids[:, 1:]), dim=1)
    changed = (model(other).logits - model(ids).logits).abs().amax(dim=-1)
    assert (changed > 1e-6).all()


@torch.no_grad()
def test_padding_on_the_right_has_no_say(model, ids):
    mask = torch.ones_like(ids)
    mask[1, 8:] = 0
    short = model(ids[1:2, :8]).logits
    assert_close(model(ids, mask).logits[1:2, :8], short)
    assert_close(model(ids).logits[1:2, :8], short)


def test_padding_on_the_left_has_no_gradient(model, ids):
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    model.train()(ids, mask, labels=ids.masked_fill(mask == 0, -100)).loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@torch.no_grad()
def test_padding_on_the_left_changes_no_text(model, ids):
    """Rows of different length written together, with and without cache, by beams too, equal each written alone."""
    lengths = (6, 3, 5)
    padded, mask = torch.ones(3, 6, dtype=torch.long), torch.zeros(3, 6, dtype=torch.long)
    for row, length in enumerate(lengths):
        padded[row, 6 - length :], mask[row, 6 - length :] = ids[row, :length], 1
    for how in ({}, {"use_cache": False}, {"num_beams": 3}):
        how = {"max_new_tokens": 9, "suppress_tokens": [1, 2], "no_repeat_ngram_size": 1} | how
        together = model.generate(padded, attention_mask=mask, **how)
        for row, length in enumerate(lengths):
            alone = model.generate(ids[row : row + 1, :length], **how)
            assert torch.equal(together[row, 6:], alone[0, length:]), (how, row)


@torch.no_grad()
def test_padding_on_the_left_changes_no_state(model, ids):
    mask = torch.ones_like(ids)
    mask[:, :2] = 0
    alone = model(ids[:, 2:]).logits
    positions = (torch.arange(11) - 2).clamp(min=0)[None]
    assert_close(model(ids, mask, positions).logits[:, 2:], alone)
    assert_close(model(ids, mask, use_cache=True).logits[:, 2:], alone)
    first = model(ids[:, :5], mask[:, :5], use_cache=True)
    rest = model(ids[:, 5:], mask, past_key_values=first.past_key_values)
    assert_close(rest.logits, alone[:, 3:])
    first = model(ids[:, :5], mask[:, :5], positions[:, :5], use_cache=True)
    rest = model(ids[:, 5:], mask, positions[:, 5:], past_key_values=first.past_key_values)
    assert_close(rest.logits, alone[:, 3:])


@torch.no_grad()
def test_generation_is_the_same_without_cache(translator, source):
    for how in ({}, {"num_beams": 3}):
        how = {"max_new_tokens": 8, "suppress_tokens": [1, 2], "no_repeat_ngram_size": 1} | how
        assert torch.equal(translator.generate(**source, **how), translator.generate(**source, use_cache=False, **how))


def assert_a_static_cache_changes_nothing(model, **inputs):
    how = {"suppress_tokens": [1, 2], "no_repeat_ngram_size": 1}
    for more in ({"max_new_tokens": 5}, {"max_new_tokens": 3, "num_beams": 3}):  # the second in a longer cache
        expected = model.generate(**inputs, **how, **more)
        assert torch.equal(model.generate(**inputs, **how, **more, cache_implementation="static"), expected)


@torch.no_grad()
def test_a_static_cache_generates_the_same(model, ids):
    mask = torch.ones_like(ids)
    mask[1, :4] = 0
    assert_a_static_cache_changes_nothing(model, input_ids=ids, attention_mask=mask)


@torch.no_grad()
def test_a_static_cache_of_an_encoder_decoder_generates_the_same(translator, source):
    assert_a_static_cache_changes_nothing(translator, **source)


@torch.no_grad()
@pytest.mark.parametrize("attention", ["dot_product", "random", "shared"])
def test_a_static_cache_may_have_more_room(tiny, scattered, ids, source, attention):
    settings = SMALL | SPECIAL | {"attention": attention, "cross_attention": "pairwise"}
    for kind, inputs in ((LeanformerForCausalLM, {}), (LeanformerForConditionalGeneration, source)):
        model = scattered(kind(tiny(**settings)))
        cache = StaticCache(config=model.config, max_cache_len=16)
        if inputs:
            cache = EncoderDecoderCache(cache, StaticCache(config=model.config, max_cache_len=13))
        name, logits = "decoder_input_ids" if inputs else "input_ids", []
        for piece in ids.split([6, 1, 4], dim=1):
            logits.append(model(**{name: piece}, past_key_values=cache, **inputs).logits)
        assert_close(torch.cat(logits, dim=1), model(**{name: ids}, **inputs).logits)


@pytest.mark.parametrize(
    ("kind", "reason"), [("quantized", "may cache one tensor"), ("offloaded", "on the CPU; take dynamic or static")]
)
def test_other_caches_are_refused_by_name(tiny, ids, kind, reason):
    model = LeanformerForCausalLM(tiny(**SMALL, **SPECIAL))
    with pytest.raises(ValueError, match=f"cache_implementation = {kind!r}: .*{reason}"):
        model.generate(ids, max_new_tokens=2, cache_implementation=kind)


@torch.no_grad()
def test_padding_of_the_source_has_no_say(translator, ids, source):
    logits = translator(**source, decoder_input_ids=ids).logits
    short = translator(source["input_ids"][1:2, :5], decoder_input_ids=ids[1:2]).logits
    assert_close(logits[1:2], short)
    other = source["input_ids"].clone()
    other[1, 5:] = other[1, 5:] % 49 + 4
    source["input_ids"] = other
    assert_close(translator(**source, decoder_input_ids=ids).logits, logits, rtol=0, atol=0)
