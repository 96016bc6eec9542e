"""Sentences are scored as the formulas say, token by token."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from leanformer.evaluation.probes.likelihood import encode, log_likelihoods
from leanformer.models import LeanformerConfig, LeanformerForCausalLM, LeanformerForMaskedLM
from leanformer.models.initialisation import initialise

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["a", "##b", "##c", "d", "e", "##f", ".", "g"]
TEXTS = ["abc d.", "g", "d e abf g", "ef d abc", "d."]


@pytest.fixture(scope="module")
def tokenizer():
    table = {piece: i for i, piece in enumerate([*SPECIAL, *PIECES])}
    made = Tokenizer(models.WordPiece(table, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=made, **dict(zip(names, SPECIAL, strict=True)))


def built(kind):
    sizes = dict(vocab_size=13, hidden_size=22, num_hidden_layers=2, num_attention_heads=11, intermediate_size=37)
    model = kind(LeanformerConfig(**sizes, max_position_embeddings=11, positions="rotary")).eval()
    initialise(model, 3)
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return model


def test_words_end_at_white_space_and_where_the_tokenizer_says(tokenizer):
    (sentence,) = encode(tokenizer, ["abc d. e"], 11)
    assert sentence.ids == [2, 5, 6, 7, 8, 11, 9, 3]
    assert sentence.words == [0, 0, 0, 1, 2, 3]


def test_characters_have_words_too():
    table = {piece: i for i, piece in enumerate([*SPECIAL, "a", "b", " "])}
    made = Tokenizer(models.BPE(table, []))
    characters = PreTrainedTokenizerFast(tokenizer_object=made, cls_token="[CLS]", sep_token="[SEP]")
    assert encode(characters, ["ab a  b"], 11)[0].words == [0, 0, 1, 1, 2, 3, 3]


@pytest.mark.parametrize("within_word", [False, True])
def test_each_token_is_masked_in_turn(tokenizer, within_word):
    model, expected = built(LeanformerForMaskedLM), []
    for ids, words in encode(tokenizer, TEXTS, 11):
        total = 0.0
        for t, word in enumerate(words):
            read = torch.tensor([ids])
            read[0, t + 1] = 4
            later = [u for u in range(t + 1, len(words)) if words[u] == word and within_word]
            read[0, [u + 1 for u in later]] = 4
            with torch.no_grad():
                total += model(read).logits[0, t + 1].log_softmax(-1)[ids[t + 1]].item()
        expected.append(total)
    scores = log_likelihoods(model, "masked_lm", tokenizer, TEXTS, within_word=within_word)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_the_two_ways_differ_in_words_of_several_tokens_only(tokenizer):
    model = built(LeanformerForMaskedLM)
    one, other = (log_likelihoods(model, "masked_lm", tokenizer, TEXTS, within_word=w) for w in (False, True))
    assert (np.isclose(one, other, rtol=1e-6) == [False, True, False, False, True]).all()


def test_a_causal_model_predicts_what_comes_next(tokenizer):
    model, expected = built(LeanformerForCausalLM), []
    for ids, _ in encode(tokenizer, TEXTS, 11):
        with torch.no_grad():
            scores = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        expected.append(sum(scores[t - 1, ids[t]].item() for t in range(1, len(ids) - 1)))
    np.testing.assert_allclose(log_likelihoods(model, "causal_lm", tokenizer, TEXTS), expected, rtol=1e-5)


def test_small_batches_change_nothing(tokenizer, monkeypatch):
    model = built(LeanformerForMaskedLM)
    whole = log_likelihoods(model, "masked_lm", tokenizer, TEXTS)
    monkeypatch.setattr("leanformer.evaluation.probes.likelihood.TOKENS", 14)
    np.testing.assert_allclose(log_likelihoods(model, "masked_lm", tokenizer, TEXTS), whole, rtol=1e-5)


def test_what_cannot_be_scored_is_refused(tokenizer):
    model = built(LeanformerForMaskedLM)
    with pytest.raises(ValueError, match="'d d d d d d d d d d' is of 12 tokens, and the model reads 3 to 11"):
        log_likelihoods(model, "masked_lm", tokenizer, ["d", "d d d d d d d d d d"])
    with pytest.raises(ValueError, match="'  ' is of 2 tokens"):
        log_likelihoods(model, "masked_lm", tokenizer, ["  "])
    with pytest.raises(ValueError, match="scores no lone sentence"):
        log_likelihoods(model, "seq2seq", tokenizer, TEXTS)
    with pytest.raises(ValueError, match="--within-word masks tokens"):
        log_likelihoods(built(LeanformerForCausalLM), "causal_lm", tokenizer, TEXTS, within_word=True)
