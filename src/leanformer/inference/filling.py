"""The words a masked language model would put in the place of every [MASK]:  p(w | text) = softmax(logits)[w].

B batch, N masks of the text that has most, V vocabulary, T words that are kept of each.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from leanformer.data import tokenizer_files
from leanformer.data.buckets import budget_on, inference_batches
from leanformer.data.examples import Examples
from leanformer.evaluation.inputs.encoding import encode
from leanformer.models import LeanformerPreTrainedModel

TRUNCATED: dict[str, Any] = {"truncated": True}


@torch.inference_mode()
def fill(
    model: LeanformerPreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    places: Sequence[str],
    texts: Sequence[str],
    length: int,
    top: int,
) -> list[dict[str, Any]]:
    """Returns for each text `masks`, a list of `top` {word, probability} a mask, and `filled`, the text with the first
    of each.

    ValueError with the text's place if there is no mask in it, or none among its first `length` tokens.
    """
    mask = str(tokenizer.mask_token)
    encoded = encode(
        tokenizer_files.filling(tokenizer),
        Examples([(text,) for text in texts], np.zeros(len(texts), np.int64)),
        length,
    )
    masked = [np.flatnonzero(np.array(ids) == tokenizer.mask_token_id) for ids in encoded.columns["input_ids"]]
    for place, found in zip(places, masked, strict=True):
        if not len(found):
            raise ValueError(f"{place}: no {mask} among the first {length} tokens: write one where a word is asked for")
    answers: list[dict[str, Any]] = [{}] * len(texts)
    for chosen in inference_batches(encoded.lengths, budget_on(model.device.type)):
        widest = max(len(masked[i]) for i in chosen)
        positions_BN = torch.tensor(np.array([np.resize(masked[i], widest) for i in chosen]), device=model.device)
        inputs = {name: tensor.to(model.device) for name, tensor in encoded.inputs(chosen).items()}
        logits_BNV = model(**inputs, masked_positions=positions_BN).logits.float()
        if not logits_BNV.isfinite().all():
            raise ArithmeticError("the model answers with numbers that are not finite: its training has failed")
        best = logits_BNV.softmax(-1).topk(min(top, logits_BNV.shape[-1]))
        for i, ids_NT, of_NT in zip(chosen.tolist(), best.indices.tolist(), best.values.tolist(), strict=True):
            count = len(masked[i])
            words = [[str(tokenizer.decode([token])).strip() for token in ids] for ids in ids_NT[:count]]
            options = [
                [{"word": word, "probability": p} for word, p in zip(*both, strict=True)]
                for both in zip(words, of_NT[:count], strict=True)
            ]
            answers[i] = {"masks": options, "filled": _filled(texts[i], mask, [word[0] for word in words])}
            answers[i] |= TRUNCATED if encoded.cut[i] else {}
    return answers


def _filled(text: str, mask: str, words: Sequence[str]) -> str:
    """Returns the text with its masks filled; masks beyond those that were read stay."""
    for word in words:
        text = text.replace(mask, word, 1)
    return text
