"""What an encoder-decoder model writes, and how near it comes to what people wrote: the suite `generation`.

    OUT/run.json            scores, how they were made, and of which model and data
    OUT/hypotheses.jsonl    a line a pair: index, source, hypothesis, references

Beam search without sampling, so the same model writes the same texts again; in the weights' own precision, since two
bf16 scores are often equal. OUT is RUN/generation/SPLIT unless another is given, and is replaced as a whole.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from transformers import PreTrainedTokenizerBase

from leanformer import files
from leanformer.data.buckets import evaluation_batches
from leanformer.data.generation_tasks import require_packages
from leanformer.data.pairs import PairCorpus
from leanformer.evaluation import pretrained, text_metrics
from leanformer.models import saved
from leanformer.spelling import suggest
from leanformer.training.machine.hardware import describe
from leanformer.training.objectives.sequences import spread
from leanformer.training.run.record import RunDirectory, versions

BATCH_SIZE = 64
HYPOTHESES = "hypotheses.jsonl"


def generation(
    run: Path,
    data: str | Path,
    *,
    split: str | None = None,
    beams: int = 4,
    max_length: int | None = None,
    limit: int | None = None,
    out: Path | None = None,
) -> dict[str, Any]:
    """Write hypotheses for a split of a data directory of pairs (its first test split) and score them.

    `max_length`: tokens of a hypothesis at most, the length the run was trained with unless given; `limit`: so many
    pairs, spread evenly over the split, instead of all. Returns the results with `out`.
    """
    for name, value in (("beams", beams), ("max-length", max_length), ("limit", limit)):
        if value is not None and value < 1:
            raise ValueError(f"--{name} {value}: must be at least 1")
    folder, corpus = saved.locate(run), PairCorpus.open(data)
    require_packages(corpus.kind)
    split = split or corpus.test
    if split not in corpus.evaluation_splits:
        raise ValueError(f"{data} has no split {split!r} to evaluate on: {suggest(split, corpus.evaluation_splits)}")
    if pretrained.objective(folder) != "seq2seq":
        raise ValueError(f'{folder} holds no encoder-decoder model: give a run with training.objective = "seq2seq"')
    tokenizer, length = pretrained.load_tokenizer(folder), pretrained.length(run)
    pretrained.require_tokenizer(corpus, tokenizer, folder)
    longest = max_length or length
    config, device = saved.config_of(folder), Accelerator(mixed_precision="no").device
    if longest > config.max_position_embeddings:
        raise ValueError(f"--max-length {longest}: {folder} reads at most {config.max_position_embeddings} tokens")

    model = pretrained.load(folder, "seq2seq").to(device).eval()
    rows, started = spread(len(corpus.splits[split]), limit), time.perf_counter()
    hypotheses = write(model, tokenizer, corpus, split, rows, length=length, beams=beams, max_length=longest)
    seconds = time.perf_counter() - started
    texts = [corpus.texts(split)[i] for i in rows]
    results = {
        **text_metrics.score(corpus.kind, hypotheses, [text["references"] for text in texts]),
        "examples": len(rows),
        "seconds": seconds,
    }
    out = out or run / "generation" / (split if limit is None else f"{split}-{limit}")
    record = {
        "kind": "generation",
        "status": "finished",
        "task": corpus.task,
        "seed": 1,
        "attention": config.attention,
        "attention_options": config.attention_options,
        "pretrained": str(run),
        "pretrained_hash": saved.weights_hash(folder),
        "data": {"path": str(data), "hash": corpus.hash, "split": split},
        "settings": {"generation": {"beams": beams, "max_length": longest, "limit": limit}},
        "versions": versions(),
        "hardware": describe(device, 1, None),
        "results": results,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.new_directory(out) as made:
        files.write_json_lines(made / HYPOTHESES, _lines(rows.tolist(), texts, hypotheses))
        RunDirectory(made).write(record)
    shown = {key: results[key] for key in ("score", "examples", "seconds")}
    return {"task": corpus.task, "split": split, "beams": beams} | shown | results["metrics"] | {
        "signatures": results["signatures"], "collapsed": results["collapsed"], "out": str(out),
    }  # fmt: skip


@torch.inference_mode()
def write(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    corpus: PairCorpus,
    split: str,
    rows: np.ndarray,
    *,
    length: int,
    beams: int,
    max_length: int,
) -> list[str]:
    """The hypotheses for these pairs, in their order; sources are cut to `length` tokens as in training."""
    store = corpus.splits[split]
    batches = evaluation_batches(store.lengths(length)[0][rows], BATCH_SIZE)
    written: list[str] = []
    for batch in batches:
        pairs = store.batch(rows[batch], length, corpus.pad_id)
        ids, mask = (torch.from_numpy(array).to(model.device) for array in (pairs.sources, pairs.mask))
        with saved.quiet():
            tokens = model.generate(
                input_ids=ids, attention_mask=mask, num_beams=beams, do_sample=False, max_new_tokens=max_length
            )
        decoded = tokenizer.batch_decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        written += [text.strip() for text in decoded]
    back = np.argsort(np.concatenate(batches))
    return [written[i] for i in back]


def _lines(rows: Sequence[int], texts: Sequence[dict[str, Any]], hypotheses: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {"index": i, "source": text["source"], "hypothesis": hypothesis, "references": text["references"]}
        for i, text, hypothesis in zip(rows, texts, hypotheses, strict=True)
    ]
