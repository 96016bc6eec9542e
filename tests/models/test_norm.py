"""Pre-norm blocks: x + f(norm(x)), and a last norm behind the last of them. Post-norm is BERT's and BART's parity."""

import pytest
import torch
from torch.testing import assert_close

from leanformer import LeanformerForCausalLM, LeanformerForConditionalGeneration, LeanformerForMaskedLM
from leanformer.models import LeanformerModel
from leanformer.models.cost import ledger

SPECIAL = {"bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}


def test_a_block_adds_to_its_input(tiny, scattered, batch):
    model = scattered(LeanformerModel(tiny(norm="pre"))).eval()
    ids = batch["input_ids"]
    output = model(ids, output_hidden_states=True)
    x = output.hidden_states[0]
    for layer in model.layers:
        x = x + layer.attention(layer.attention_norm(x))
        x = x + layer.feed_forward(layer.feed_forward_norm(x))
    assert_close(output.last_hidden_state, model.last_norm(x), rtol=1e-4, atol=1e-5)


def test_a_decoder_adds_to_its_input_too(tiny, scattered):
    model = scattered(LeanformerForConditionalGeneration(tiny(norm="pre", **SPECIAL))).eval()
    source, target = torch.randint(3, 101, (2, 7)), torch.randint(3, 101, (2, 5))
    states = model.encoder(source).last_hidden_state
    decoder = model.decoder
    x = decoder.embeddings(decoder.embeddings.word_embeddings(target), None, torch.arange(5)[None])
    for layer in decoder.layers:
        x = x + layer.attention(layer.attention_norm(x), causal=True)
        x = x + layer.cross_attention(layer.cross_attention_norm(x), states)
        x = x + layer.feed_forward(layer.feed_forward_norm(x))
    logits = model(source, decoder_input_ids=target).logits
    assert_close(logits, model.head(decoder.last_norm(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        ("masked_lm", LeanformerForMaskedLM),
        ("causal_lm", LeanformerForCausalLM),
        ("seq2seq", LeanformerForConditionalGeneration),
    ],
)
def test_the_last_norms_are_counted(tiny, head, kind):
    model = kind(tiny(norm="pre", **SPECIAL))
    assert ledger(model.config, 11, head=head)["parameters"]["total"] == model.num_parameters()


def test_post_norm_has_no_last_one(tiny):
    assert not [key for key in LeanformerModel(tiny()).state_dict() if "last_norm" in key]
