"""How likely a model finds a sentence, in nats.

    masked_lm    sum_t log p(w_t | all of w but w_t)      each token masked in turn: the pseudo-log-likelihood
    causal_lm    sum_t log p(w_t | w_1 .. w_{t-1})

w are the tokens between [CLS] and [SEP]: these are read, and never asked for (Salazar, Liang, Nguyen & Kirchhoff, 2020,
"Masked Language Model Scoring"). A token that the rest of its word gives away is scored too well; `within_word` masks
the later tokens of its word besides (Kauf & Ivanova, 2023, "A Better Way to Do Masked Language Model Scoring"). A word
ends at white space, and where the tokenizer says.

Sentences of one length make the batches, so nothing is padded; in float32, as bf16 scores of two sentences often tie.

S sentences, L tokens with [CLS] and [SEP], N = L - 2 without, R rows of a batch, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from leanformer.models import saved

TOKENS = 4096
"""Of a batch."""


class Encoded(NamedTuple):
    ids: list[int]
    """L"""
    words: list[int]
    """N numbers, equal for tokens of one word, ascending."""


@torch.inference_mode()
def log_likelihoods(
    model: Any, kind: str, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], *, within_word: bool = False
) -> NDArray[np.float64]:
    """(S,) of a model of this pre-training objective. ValueError for a text that is empty, or longer than the model."""
    if kind not in ("masked_lm", "causal_lm"):
        raise ValueError(f"a model of {kind} scores no lone sentence: give a masked or causal language model")
    if within_word and kind != "masked_lm":
        raise ValueError("--within-word masks tokens, and a causal language model reads none: leave it out")
    encoded = encode(tokenizer, texts, model.config.max_position_embeddings)
    lengths = np.array([len(sentence.ids) for sentence in encoded])
    scores = np.empty(len(texts))
    for length in np.unique(lengths):
        chosen = np.flatnonzero(lengths == length)
        ids_SL = torch.tensor([encoded[i].ids for i in chosen], device=model.device)
        if kind == "causal_lm":
            scores[chosen] = _causal(model, ids_SL)
        else:
            words = [encoded[i].words if within_word else range(length - 2) for i in chosen]
            scores[chosen] = _masked(model, ids_SL, torch.tensor(words, device=model.device), tokenizer.mask_token_id)
    return scores


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], longest: int) -> list[Encoded]:
    """[CLS] text [SEP], as `prepare` stores a document."""
    with saved.quiet():
        batch = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True)
    sentences = []
    for i, text in enumerate(texts):
        ids = [tokenizer.cls_token_id, *batch["input_ids"][i], tokenizer.sep_token_id]
        if not 2 < len(ids) <= longest:
            raise ValueError(f"{text[:60]!r} is of {len(ids)} tokens, and the model reads 3 to {longest}: leave it out")
        spaces = np.cumsum([character.isspace() for character in text])
        ends = [end for _, end in batch["offset_mapping"][i]]
        units = np.array([batch.word_ids(i), spaces[np.array(ends) - 1]])
        words = np.cumsum(np.any(np.diff(units, prepend=units[:, :1]) != 0, axis=0))
        sentences.append(Encoded(ids, words.tolist()))
    return sentences


def _masked(model: Any, ids_SL: Tensor, words_SN: Tensor, mask_id: int) -> NDArray[np.float64]:
    """Row r asks for token t = r mod N of sentence r div N."""
    size, targets = words_SN.shape
    places = torch.arange(targets, device=ids_SL.device)
    scores = []
    for rows in _batches(size * targets, ids_SL.shape[1], ids_SL.device):
        s, t = rows // targets, rows % targets
        same_word = words_SN[s] == words_SN[s, t][:, None]
        hidden_RN = same_word & (places >= t[:, None])
        read = ids_SL[s]
        read[:, 1:-1].masked_fill_(hidden_RN, mask_id)
        logits_RV = model(input_ids=read, masked_positions=t[:, None] + 1).logits[:, 0]
        scores.append(-F.cross_entropy(logits_RV.float(), ids_SL[s, t + 1], reduction="none"))
    return torch.cat(scores).double().view(size, targets).sum(1).cpu().numpy()


def _causal(model: Any, ids_SL: Tensor) -> NDArray[np.float64]:
    scores = []
    for rows in _batches(len(ids_SL), ids_SL.shape[1], ids_SL.device):
        logits_RNV = model(input_ids=ids_SL[rows]).logits[:, :-2]
        losses_RN = F.cross_entropy(logits_RNV.float().transpose(1, 2), ids_SL[rows, 1:-1], reduction="none")
        scores.append(-losses_RN.double().sum(1))
    return torch.cat(scores).cpu().numpy()


def _batches(rows: int, length: int, device: torch.device) -> Iterator[Tensor]:
    yield from torch.arange(rows, device=device).split(max(1, TOKENS // length))
