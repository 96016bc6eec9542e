"""How well a model predicts text it has not seen: exp(loss), loss = mean over targets of -log p(target), in nats.

    masked_lm     targets are masked tokens: the masks of validation (15 %, frozen), on every held-out sequence
    causal_lm     every token of a held-out sequence but the first, given those before it
    seq2seq       every token of the first reference, given the source and those before it, on the validation pairs

A perplexity of masked tokens compares between models of one tokenizer, not with a left-to-right language model's.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from leanformer.data import tokenizer_files
from leanformer.data.corpus import Corpus, TokenStore
from leanformer.data.encoding import encoder
from leanformer.data.readers import documents
from leanformer.data.sampling import few_notes
from leanformer.evaluation import pretrained
from leanformer.models import saved
from leanformer.models.inference import PRECISIONS, for_inference
from leanformer.settings import TrainingSettings
from leanformer.spelling import suggest
from leanformer.training.machine.hardware import autocast_dtype
from leanformer.training.objectives.protocol import Batch, PretrainingObjective
from leanformer.training.objectives.table import OBJECTIVES


def perplexity(run: Path, data: str | Path, *, precision: str | None = None) -> dict[str, Any]:
    """On the validation split of a data directory or, unless it takes pairs, on any text that `prepare` reads.

    `precision` is one of `for_inference`, or fp32; without it the model computes as in training by default: float32
    weights, products in bf16 where the hardware multiplies it.
    """
    if precision not in (None, "fp32", *PRECISIONS):
        raise ValueError(f"--precision {precision}: {suggest(precision, ('fp32', *PRECISIONS))}")
    folder = saved.locate(run)
    length, kind = pretrained.length(run), pretrained.objective(folder)
    entry, prepared = OBJECTIVES[kind], Path(data).is_dir() or kind == "seq2seq"
    corpus = held_out(run, data)
    how = {"objective": kind, "sequence_length": length, "batch_size": 1, "validation_sequences": None}
    settings = TrainingSettings.of(how)
    objective = entry.objective(corpus, settings, 1)

    model = pretrained.load_evaluated(folder, kind)
    device = model.device
    if precision in PRECISIONS:
        model = for_inference(model, precision)
    mixed = precision is None and autocast_dtype("auto", device) is not None
    loss, targets, sequences = 0.0, 0, 0
    for batch in objective.validation_batches(0, 1):
        loss, targets = loss + _loss_sum(model, objective, batch, device, mixed), targets + objective.num_targets(batch)
        sequences += len(batch["labels"])
    loss /= targets
    if not math.isfinite(loss):
        raise ArithmeticError(f"{folder} answers with numbers that are not finite: its training has failed")
    what = "pairs of the split valid" if kind == "seq2seq" else f"held-out sequences of {length} tokens"
    notes = few_notes(sequences, what, "give more text")
    return {
        "objective": kind,
        "sequence_length": length,
        "sequences": sequences,
        "targets": targets,
        "loss": loss,
        "perplexity": math.exp(loss),
        "no_context_baseline": objective.floor()["context_free"] if prepared else None,
        **({"note": notes[0]} if notes else {}),
    }


def held_out(run: Path, data: str | Path) -> Any:
    """Data for the model of `run`, in its tokenizer: of its objective's kind if prepared, else all of a text, held out.
    ValueError if there is not one sequence of its length."""
    folder = saved.locate(run)
    tokenizer, length, kind = pretrained.load_tokenizer(folder), pretrained.length(run), pretrained.objective(folder)
    if Path(data).is_dir() or kind == "seq2seq":
        corpus = OBJECTIVES[kind].open(data)
        pretrained.require_tokenizer(corpus, tokenizer, folder)
    else:
        corpus = in_memory(tokenizer, data)
    if kind != "seq2seq" and not corpus.valid.sequences(length):
        tokens = len(corpus.valid)
        raise ValueError(f"{data} has {tokens:,} held-out tokens, not one sequence of {length}: give more text")
    return corpus


def in_memory(tokenizer: PreTrainedTokenizerBase, source: str | Path) -> Corpus:
    """[CLS] text [SEP] [CLS] text [SEP] ..., as `prepare` stores it; all of it is held out."""
    dtype, vocabulary = np.dtype(np.uint32), tokenizer_files.vocabulary(tokenizer)
    first, last = (np.array([i], dtype).tobytes() for i in (vocabulary.cls_id, vocabulary.sep_id))
    texts = encoder(tokenizer.backend_tokenizer, dtype)(list(documents(source)))
    starts = np.cumsum([0, *(len(text) // dtype.itemsize + 2 for text in texts)])[:-1]
    store = TokenStore(np.frombuffer(b"".join(first + text + last for text in texts), dtype), starts)
    return Corpus(Path(source), vocabulary, "", "", {}, train=store, valid=store)


@torch.inference_mode()
def _loss_sum(
    model: nn.Module, objective: PretrainingObjective, batch: Batch, device: torch.device, mixed: bool
) -> float:
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
        return float(objective.loss_sum(model, batch))
