"""A pre-trained model on held-out text: the function behind `leanformer evaluate`.

    perplexity    exp(loss), loss = mean over masked tokens of -log p(token | corrupted sequence), in nats

The masks are those of validation during pre-training (15 %, frozen), here on every held-out sequence. So it is a
perplexity of masked tokens: comparable between models of one tokenizer, not with a left-to-right language model's.

B batch, L sequence length, N masked positions a sequence.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from leanformer.data import tokenizer_files
from leanformer.data.corpus import Corpus, TokenStore
from leanformer.data.encoding import encoder
from leanformer.data.floor import context_free_floor
from leanformer.data.masking import IGNORED, Masked, count, mask
from leanformer.data.readers import documents
from leanformer.data.vocabulary import Vocabulary
from leanformer.evaluation import pretrained
from leanformer.models import LeanformerForMaskedLM
from leanformer.spelling import suggest
from leanformer.training.hardware import autocast_dtype
from leanformer.training.masked_lm import VALIDATION_RATE, VALIDATION_SEED
from leanformer.training.record import RunDirectory
from leanformer.training.sequences import VALIDATION_BATCH


def evaluate(run: str | Path, suite: str, data: str | Path) -> dict[str, Any]:
    """Results of the model of `run` in a suite; unknown suites are a ValueError."""
    if suite not in SUITES:
        raise ValueError(f"unknown suite {suite!r}: {suggest(suite, SUITES)}")
    return {"schema": 1, "kind": "evaluation", "suite": suite, "run": str(run), "data": str(data)} | SUITES[suite](
        Path(run), data
    )


def perplexity(run: Path, data: str | Path) -> dict[str, Any]:
    """On the validation split of a data directory, or on any text that `leanformer prepare` reads."""
    folder = pretrained.locate(run)
    tokenizer, length = pretrained.load_tokenizer(folder), _length(run, folder)
    vocabulary = tokenizer_files.vocabulary(tokenizer)
    counts = None
    if Path(data).is_dir():
        corpus = Corpus.open(data)
        if tokenizer_files.load(data).get_vocab() != tokenizer.get_vocab():
            raise ValueError(f"{data} was prepared with another tokenizer than {folder}: give the text itself")
        store, counts = corpus.valid, corpus.train.counts(corpus.vocab_size)
    else:
        store = _tokenised(tokenizer, vocabulary, data)
    if not store.sequences(length):
        raise ValueError(f"{data} has {len(store):,} held-out tokens, not one sequence of {length}: give more text")

    device = Accelerator(mixed_precision="no").device
    model = pretrained.load_masked_lm(folder).to(device).eval()
    loss, targets, floor = 0.0, 0, 0.0
    for masked in _frozen(store, length, vocabulary):
        number = int((masked.labels != IGNORED).sum())
        loss, targets = loss + _loss_sum(model, masked, device), targets + number
        if counts is not None:
            floor += context_free_floor(counts, masked, vocabulary).context_free * number
    loss /= targets
    if not math.isfinite(loss):
        raise ArithmeticError(f"{folder} answers with numbers that are not finite: its training has failed")
    return {
        "sequence_length": length,
        "sequences": store.sequences(length),
        "targets": targets,
        "loss": loss,
        "perplexity": math.exp(loss),
        "context_free_floor": None if counts is None else floor / targets,
    }


SUITES: dict[str, Callable[[Path, str | Path], dict[str, Any]]] = {"perplexity": perplexity}


def _length(run: Path, folder: Path) -> int:
    """The length the run was trained with; of a model without its run, the longest it reads."""
    directory = RunDirectory(run)
    if directory.record.is_file() and directory.model == folder:
        return int(directory.read()["settings"]["training"]["sequence_length"])
    return pretrained.config_of(folder).max_position_embeddings


def _tokenised(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary, source: str | Path) -> TokenStore:
    """[CLS] text [SEP] [CLS] text [SEP] ..., as `prepare` stores it, in memory."""
    dtype = np.dtype(np.uint32)
    first, last = (np.array([i], dtype).tobytes() for i in (vocabulary.cls_id, vocabulary.sep_id))
    texts = encoder(tokenizer.backend_tokenizer, dtype)(list(documents(source)))
    starts = np.cumsum([0, *(len(text) // dtype.itemsize + 2 for text in texts)])[:-1]
    return TokenStore(np.frombuffer(b"".join(first + text + last for text in texts), dtype), starts)


def _frozen(store: TokenStore, length: int, vocabulary: Vocabulary) -> Iterator[Masked]:
    number, total = count(VALIDATION_RATE, length), store.sequences(length)
    for start in range(0, total, VALIDATION_BATCH):
        ids = np.arange(start, min(start + VALIDATION_BATCH, total))
        yield mask(store.batch(ids, length), ids, seed=VALIDATION_SEED, epoch=0, count=number, vocabulary=vocabulary)


@torch.inference_mode()
def _loss_sum(model: LeanformerForMaskedLM, masked: Masked, device: torch.device) -> float:
    ids_BL, positions_BN, labels_BN = (torch.from_numpy(array).to(device) for array in masked)
    bf16 = autocast_dtype("auto", device) is not None
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        return float(model(ids_BL, masked_positions=positions_BN, labels=labels_BN, num_items_in_batch=1).loss)
