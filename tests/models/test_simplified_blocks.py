"""Simplified blocks are their formulas, start as the identity, and are counted, in encoders and language models."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from leanformer import LeanformerForCausalLM, LeanformerForMaskedLM, LeanformerModel
from leanformer.models import LeanformerForConditionalGeneration
from leanformer.models.cost import ledger
from leanformer.models.initialisation import initialise

SHAPED = {"mixer": "shaped", "norm": "pre"}
BLOCKS = ["simplified", "simplified_parallel"]
ATTENTIONS = ["dot_product", "symmetric", "pairwise", "random", "dense+dot_product"]


def written_out(layer, x, attended, parallel):
    norm, gain = layer.attention_norm(x), layer.feed_forward_gain
    if parallel:
        return attended(norm) + gain * layer.feed_forward(norm)
    y = attended(norm)
    return y + gain * layer.feed_forward(layer.feed_forward_norm(y))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_an_encoder_is_the_formula(tiny, scattered, batch, block, attention):
    model = scattered(LeanformerModel(tiny(attention, block=block, **SHAPED)))
    layer, seen = model.layers[0], []
    layer.register_forward_hook(lambda _, inputs, output: seen.extend([inputs[0], output]))
    found = model(**batch, output_hidden_states=True, output_attentions=True)
    mask = batch["attention_mask"].bool()[:, None, None, :]
    expected = written_out(layer, seen[0], lambda x: layer.attention(x, mask=mask), block == "simplified_parallel")
    assert_close(seen[1], expected)
    assert len(found.hidden_states) == 3 and len(found.attentions) == 2
    assert_close(model(**batch).last_hidden_state, found.last_hidden_state, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_language_model_is_the_formula_and_sees_no_future(tiny, scattered, block):
    model = scattered(LeanformerForCausalLM(tiny("pairwise", block=block, **SHAPED)))
    layer, seen = model.decoder.layers[0], []
    layer.register_forward_hook(lambda _, inputs, output: seen.extend([inputs[0], output]))
    ids = torch.randint(0, 101, (2, 9), generator=torch.Generator().manual_seed(1))
    whole = model(ids).logits
    expected = written_out(layer, seen[0], lambda x: layer.attention(x, causal=True), block == "simplified_parallel")
    assert_close(seen[1], expected)
    first = model(ids[:, :4], use_cache=True)
    rest = model(ids[:, 4:], past_key_values=first.past_key_values)
    assert_close(torch.cat((first.logits, rest.logits), 1), whole, rtol=1e-4, atol=1e-4)
    assert_close(model(ids[:, :6]).logits, whole[:, :6], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("kind", [LeanformerForMaskedLM, LeanformerForCausalLM])
def test_a_layer_starts_as_its_norm_and_a_tenth_of_its_feed_forward_layer(tiny, block, kind):
    model = kind(tiny(block=block, **SHAPED)).eval()
    initialise(model, seed=3)
    layer, x = model.base_model.layers[0], torch.randn(2, 5, 30)
    y = layer.attention_norm(x)
    fed = layer.feed_forward(y if block == "simplified_parallel" else layer.feed_forward_norm(y))
    found = layer(x, None, torch_positions(5))
    assert_close(found, y + 0.1 * fed, rtol=1e-5, atol=1e-6)


def torch_positions(length):
    from leanformer.attention import Positions

    return Positions.counted(length, length, torch.device("cpu"))


@pytest.mark.parametrize("block", [*BLOCKS, "sequential"])
@pytest.mark.parametrize("settings", [{}, {"biases": False}, {"layer_sharing": "all"}])
def test_a_language_model_is_counted(tiny, block, settings):
    model = LeanformerForCausalLM(tiny("pairwise", block=block, **SHAPED, **settings)).eval()
    counted = ledger(model.config, 11, head="causal_lm")
    assert counted["parameters"]["total"] == model.num_parameters()
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randint(1, 101, (1, 11)))
    assert counter.get_total_flops() == round(11 * counted["flops_per_token"]["forward"])


def test_an_encoder_decoder_has_shaped_attention_in_both_stacks_and_sequential_blocks(tiny, scattered):
    model = scattered(LeanformerForConditionalGeneration(tiny("pairwise", mixer="shaped", cross_attention="symmetric")))
    assert ledger(model.config, 11, head="seq2seq")["parameters"]["total"] == model.num_parameters()
    kinds = {name: type(part).__name__ for name, part in model.named_modules() if name.endswith("layers.0.attention")}
    assert set(kinds.values()) == {"ShapedAttention"} and len(kinds) == 2
    assert type(model.decoder.layers[0].cross_attention).__name__ == "MultiHeadAttention"
    ids, target = torch.randint(1, 101, (2, 7)), torch.randint(1, 101, (2, 5))
    other = target.clone()
    other[:, 3:] = 9
    logits = [model(input_ids=ids, decoder_input_ids=each).logits for each in (target, other)]
    assert_close(logits[0][:, :3], logits[1][:, :3])
    with pytest.raises(ValueError, match="block = 'simplified' is an encoder's: leave it out of an encoder-decoder's"):
        LeanformerForConditionalGeneration(tiny(block="simplified", **SHAPED))
    with pytest.raises(ValueError, match="block = 'mixing_only' is an encoder's: leave it out of a decoder's config"):
        LeanformerForCausalLM(tiny(block="mixing_only"))


@pytest.mark.parametrize("block", BLOCKS)
def test_each_is_saved(tiny, scattered, batch, block, tmp_path):
    for kind in (LeanformerForMaskedLM, LeanformerForCausalLM):
        model = scattered(kind(tiny(block=block, **SHAPED)))
        model.save_pretrained(tmp_path / kind.__name__)
        again = kind.from_pretrained(tmp_path / kind.__name__).eval()
        assert_close(again(batch["input_ids"]).logits, model(batch["input_ids"]).logits)
