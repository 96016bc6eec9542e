"""The baseline is the real one: decoders with `dot_product` are Hugging Face's BART, in values, gradients and text."""

import pytest
import torch
from torch.testing import assert_close
from transformers import BartConfig, BartForCausalLM, BartForConditionalGeneration

from leanformer import LeanformerForCausalLM, LeanformerForConditionalGeneration

MODULES = {
    "self_attn_layer_norm": "attention_norm",
    "encoder_attn_layer_norm": "cross_attention_norm",
    "final_layer_norm": "feed_forward_norm",
    "layernorm_embedding": "embeddings.norm",
    "embed_positions": "embeddings.position_embeddings",
    "embed_tokens": "embeddings.word_embeddings",
    "model.shared": "encoder.embeddings.word_embeddings",
    "self_attn": "attention",
    "encoder_attn": "cross_attention",
    "q_proj": "projection.query",
    "k_proj": "projection.key",
    "v_proj": "projection.value",
    "out_proj": "output",
    "fc1": "feed_forward.up",
    "fc2": "feed_forward.down",
    "lm_head": "head",
    "model.": "",
}
"""What BART calls by another name, in the order it is replaced."""

SPECIAL = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2}


def called(key: str) -> str:
    for theirs, ours in MODULES.items():
        key = key.replace(theirs, ours)
    return key


def own(key: str, value: torch.Tensor) -> torch.Tensor:
    """BART's table of positions begins with two rows that it never reads."""
    return value[2:] if "embed_positions" in key else value


def bart_config(config, **settings):
    return BartConfig(
        vocab_size=config.vocab_size,
        d_model=config.hidden_size,
        encoder_layers=config.num_hidden_layers,
        decoder_layers=config.num_decoder_layers or config.num_hidden_layers,
        encoder_attention_heads=config.num_attention_heads,
        decoder_attention_heads=config.num_attention_heads,
        encoder_ffn_dim=config.intermediate_size,
        decoder_ffn_dim=config.intermediate_size,
        max_position_embeddings=config.max_position_embeddings,
        dropout=0.0,
        forced_eos_token_id=None,
        **SPECIAL,
    )


def twins(theirs, ours):
    """Our model with their weights."""
    known = set(ours.state_dict())
    values = {called(key): own(key, value) for key, value in theirs.state_dict().items()}
    ours.load_state_dict({key: value for key, value in values.items() if key in known})
    unused = {key for key in values.keys() - known if "cross_attention" not in key}
    assert unused <= {"final_logits_bias"}
    return theirs, ours.eval()


@pytest.fixture
def lm_pair(tiny, scattered):
    config = tiny(layer_norm_eps=1e-5, **SPECIAL)
    return twins(scattered(BartForCausalLM(bart_config(config))), LeanformerForCausalLM(config))


@pytest.fixture
def pair(tiny, scattered):
    config = tiny(layer_norm_eps=1e-5, type_vocab_size=0, num_decoder_layers=3, **SPECIAL)
    bart = scattered(BartForConditionalGeneration(bart_config(config)))
    return twins(bart, LeanformerForConditionalGeneration(config))


def assert_same_gradients(theirs, ours):
    gradients = {key: parameter.grad for key, parameter in ours.named_parameters()}
    used = {key: parameter for key, parameter in theirs.named_parameters() if parameter.grad is not None}
    assert {called(key) for key in used} == gradients.keys()
    for key, parameter in used.items():
        assert_close(
            gradients[called(key)],
            own(key, parameter.grad),
            rtol=1e-5,
            atol=1e-5,
            msg=lambda message, key=key: f"{key}: {message}",
        )


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_a_language_model_equals_barts(lm_pair, batch, kernel):
    theirs, ours = lm_pair
    ours.set_attn_implementation(kernel)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    labels = ids.masked_fill(mask == 0, -100)
    shifted = torch.cat((labels[:, 1:], torch.full((3, 1), -100)), dim=1)  # BART shifts nothing
    expected = theirs(ids, mask, labels=shifted)
    actual = ours(ids, mask, labels=labels)
    assert_close(actual.logits[mask.bool()], expected.logits[mask.bool()], rtol=0, atol=1e-5)
    assert_close(actual.loss, expected.loss, rtol=0, atol=1e-5)
    expected.loss.backward()
    actual.loss.backward()
    assert_same_gradients(theirs, ours)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_an_encoder_decoder_equals_barts(pair, batch, kernel):
    theirs, ours = pair
    ours.set_attn_implementation(kernel)
    source = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    labels = torch.randint(3, 101, (3, 7))
    labels[0, 5:] = labels[2, 2:] = -100
    expected, actual = theirs(**source, labels=labels), ours(**source, labels=labels)
    assert_close(actual.logits, expected.logits, rtol=0, atol=1e-5)
    assert_close(actual.loss, expected.loss, rtol=0, atol=1e-5)
    expected.loss.backward()
    actual.loss.backward()
    assert_same_gradients(theirs, ours)


WRITING = {"max_new_tokens": 13, "no_repeat_ngram_size": 1}
GENERATE = {
    "greedy": {},
    "uncached": {"use_cache": False},
    "beams": {"num_beams": 4, "length_penalty": 0.8, "num_return_sequences": 2},
    "forced end": {"num_beams": 3, "early_stopping": True, "forced_eos_token_id": 2},
}


@pytest.mark.parametrize("how", GENERATE)
def test_a_language_model_writes_what_bart_writes(lm_pair, how):
    ids = torch.randint(3, 101, (3, 5))
    expected, actual = (model.generate(ids, **WRITING, **GENERATE[how]) for model in lm_pair)
    assert expected.unique().numel() > 20
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("how", GENERATE)
def test_an_encoder_decoder_writes_what_bart_writes(pair, batch, how):
    source = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    expected, actual = (model.generate(**source, **WRITING, **GENERATE[how]) for model in pair)
    assert expected.unique().numel() > 12
    assert torch.equal(actual, expected)
