"""Copying in context: can a model find the earlier place with the same content, and copy what stood there?

A sequence of the length of training is random ordinary tokens, in which a block of `BLOCK` tokens comes twice,

    [CLS] random  BLOCK  `gap` random tokens  BLOCK  random [SEP]

and starts at a random place. Nothing but the first block tells the second; the tokens are uniform, so no knowledge of a
language helps. A masked language model is asked for one token inside the second block, whose neighbours it sees; a
causal one for every token of the second block but the first (the induction of Olsson et al., 2022, "In-context Learning
and Induction Heads"). Beside it stand the same questions with the first block

    shuffled     the same tokens in another order: what knowing that a token occurs is worth, and no more
    unrelated    other random tokens: nothing to find

`gain` = mean of loss(shuffled) - loss(repeated), nats, over sequences, with the t interval of 95 %: what matching
content is worth. A mechanism whose weights depend on positions alone looks at fixed distances: it can copy over a gap
that never varies, and among several it cannot tell which one this is. Chance is 1 / V for V ordinary tokens, ln V nats.

S sequences, L tokens, T targets of a sequence.
"""

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from leanformer.data import tokenizer_files
from leanformer.data.order import permutation
from leanformer.data.randomness import below, random_bits
from leanformer.data.vocabulary import Vocabulary
from leanformer.evaluation import pretrained
from leanformer.evaluation.probes.attention_maps import require_one_text
from leanformer.models import saved

BLOCK = 8
SEQUENCES = 256
BATCH = 32
CONDITIONS = ("repeated", "shuffled", "unrelated")
SEED = 0


class Questions(NamedTuple):
    """Of one gap and condition, all int64."""

    tokens_SL: NDArray[np.int64]
    targets_ST: NDArray[np.int64]
    """Places asked for, ascending."""


def induction(run: Path, *, limit: int | None = None, gaps: Sequence[int] | None = None) -> dict[str, Any]:
    """A row for every gap and condition, of `limit` sequences each, 256 unless given."""
    if limit is not None and limit < 2:
        raise ValueError(f"--limit {limit}: must be at least 2, for an interval")
    folder = saved.locate(run)
    kind, length = pretrained.objective(folder), pretrained.length(run)
    require_one_text(kind, folder)
    vocabulary = tokenizer_files.vocabulary(pretrained.load_tokenizer(folder))
    model = pretrained.load_evaluated(folder, kind)
    return {
        "objective": kind,
        "attention": saved.config_of(folder).attention,
        "sequence_length": length,
        **probe(model, kind, vocabulary, length, limit or SEQUENCES, gaps),
    }


def probe(
    model: Any, kind: str, vocabulary: Vocabulary, length: int, size: int, gaps: Sequence[int] | None = None
) -> dict[str, Any]:
    """The results for any model with such a forward pass."""
    asked = default_gaps(length) if gaps is None else list(gaps)
    results, gains = [], []
    for gap in asked:
        losses = {}
        for condition in CONDITIONS:
            question = questions(condition, vocabulary, length, size, gap, kind == "causal_lm")
            losses[condition], hits = ask(model, kind, question, vocabulary.mask_id)
            row = {"gap": gap, "copy": condition, "targets": question.targets_ST.size}
            results.append(row | {"accuracy": float(hits.mean()), "loss": float(losses[condition].mean())})
        gain_S = (losses["shuffled"] - losses["repeated"]).mean(1)
        if not np.isfinite(gain_S).all():
            raise ArithmeticError("the model answers with numbers that are not finite: its training has failed")
        centre, error = gain_S.mean(), stats.sem(gain_S)
        reach = error * stats.t.ppf(0.975, size - 1)
        gains.append({"gap": gap, "gain": float(centre), "low": float(centre - reach), "high": float(centre + reach)})
    chance = len(vocabulary.ordinary_ids)
    return {
        "sequences": size,
        "chance_accuracy": 1 / chance,
        "chance_loss": log(chance),
        "gains": gains,
        "results": results,
    }


def default_gaps(length: int) -> list[int]:
    """0 and the powers of two from 4 that leave both blocks room."""
    return [0, *(gap for gap in (4, 8, 16, 32, 64, 128, 256, 512, 1024) if gap <= room(length))]


def room(length: int) -> int:
    """The widest gap in a sequence of this length."""
    return length - 2 - 2 * BLOCK


def questions(
    condition: str, vocabulary: Vocabulary, length: int, size: int, gap: int, causal: bool, seed: int = SEED
) -> Questions:
    """A function of its arguments. All conditions ask for the same tokens at the same places."""
    if room(length) < 0:
        raise ValueError(
            f"{length} tokens are too few for two blocks: the probe needs a model of {length - room(length)}"
        )
    if not 0 <= gap <= room(length):
        raise ValueError(
            f"--gaps {gap}: two blocks of {BLOCK} leave room for gaps of 0 to {room(length)} in {length} tokens"
        )
    rows = np.arange(size)[:, None]

    def random_tokens(stream: int, count: int) -> NDArray[np.int64]:
        bits = random_bits(seed, stream, gap, rows, np.arange(count))
        return vocabulary.ordinary_ids[below(bits, len(vocabulary.ordinary_ids))]

    tokens_SL, block = random_tokens(0, length), random_tokens(1, BLOCK)
    tokens_SL[:, 0], tokens_SL[:, -1] = vocabulary.cls_id, vocabulary.sep_id
    start = 1 + below(random_bits(seed, 2, gap, rows), room(length) - gap + 1)
    within = np.arange(BLOCK)
    first = {"repeated": block, "shuffled": _shuffled(block, seed, gap), "unrelated": random_tokens(3, BLOCK)}[
        condition
    ]
    second = start + BLOCK + gap
    np.put_along_axis(tokens_SL, start + within, first, axis=1)
    np.put_along_axis(tokens_SL, second + within, block, axis=1)
    if causal:
        return Questions(tokens_SL, second + within[1:])
    return Questions(tokens_SL, second + 1 + below(random_bits(seed, 4, gap, rows), BLOCK - 2))


def _shuffled(block_SN: NDArray[np.int64], seed: int, gap: int) -> NDArray[np.int64]:
    within = np.arange(BLOCK)
    orders = [permutation(within, BLOCK, seed + gap, epoch=row) for row in range(len(block_SN))]
    return np.take_along_axis(block_SN, np.array(orders), axis=1)


@torch.inference_mode()
def ask(model: Any, kind: str, question: Questions, mask_id: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Loss and hit (S, T) of every target: a hit is the likeliest token of all. In float32."""
    losses, hits = [], []
    for first in range(0, len(question.tokens_SL), BATCH):
        tokens, places = (torch.from_numpy(part[first : first + BATCH]).to(model.device) for part in question)
        answers = tokens.gather(1, places)
        logits = _logits(model, kind, tokens, places, mask_id).float()
        losses.append(F.cross_entropy(logits.transpose(1, 2), answers, reduction="none").double().cpu())
        hits.append((logits.argmax(-1) == answers).cpu())
    return torch.cat(losses).numpy(), torch.cat(hits).numpy()


def _logits(model: Any, kind: str, tokens: Tensor, places: Tensor, mask_id: int) -> Tensor:
    """(S, T, V)"""
    if kind == "masked_lm":
        return model(input_ids=tokens.scatter(1, places, mask_id), masked_positions=places).logits
    logits = model(input_ids=tokens).logits
    return logits.gather(1, (places - 1)[..., None].expand(-1, -1, logits.shape[-1]))
