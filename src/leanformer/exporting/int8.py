"""An ONNX graph of 8-bit products (onnxruntime's dynamic quantisation), and what it costs in accuracy.

Weights are rounded once, to 127 levels with a scale per column, or per stack of matrices; what they multiply is rounded
at every call. What that does is measured against the float32 graph: |difference| of the outputs, largest and mean,
beside their own standard deviation, on the text that verified it (without a tokenizer: on random tokens); and of a
masked language model, on any text, the loss on the frozen masks of validation.
"""

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from leanformer.data.corpus import Corpus
from leanformer.data.masking import IGNORED
from leanformer.evaluation import pretrained
from leanformer.evaluation.perplexity import held_out
from leanformer.exporting.graph_check import Session, cases
from leanformer.exporting.source import Source
from leanformer.models import LeanformerForMaskedLM
from leanformer.settings import TrainingSettings
from leanformer.training.objectives.masked_lm import MaskedLM
from leanformer.training.objectives.protocol import Batch

AT_ONCE = 4
"""Sequences."""


def quantise(graph: Path, target: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(graph))
    del model.graph.value_info[:]  # the exporter's shapes, which the quantiser takes for contradictions of its own
    stacked = _stacked_products(model)
    # 7 bits: with 8, a CPU without VNNI overflows the 16 bits it adds products in.
    how: dict[str, Any] = {"weight_type": QuantType.QInt8, "reduce_range": True}
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(model, target, **how, per_channel=True, nodes_to_exclude=stacked)
        if stacked:
            quantize_dynamic(onnx.load(str(target)), target, **how, nodes_to_quantize=stacked)
    finally:
        logging.disable(level)


def _stacked_products(model: Any) -> list[str]:
    """Returns the products with a stack of matrices, one per head or group. Their kernel takes one scale for a stack,
    and fails on one per column."""
    ranks = {weight.name: len(weight.dims) for weight in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    return [node.name for node in products if any(ranks.get(name, 0) > 2 for name in node.input)]


def cost(source: Source, graph: Path, quantised: Path) -> dict[str, Any]:
    """In units of the outputs. ArithmeticError if an answer is not a number."""
    whole, small = Session(graph), Session(quantised)
    differences, outputs = [], []
    asked = cases(source)
    text = [inputs for kind, inputs in asked if kind == "text"]
    for inputs in text or [inputs for _, inputs in asked]:
        expected, found = whole(inputs), small(inputs)
        differences += [np.abs(expected[name] - found[name]).ravel() for name in expected]
        outputs += [value.ravel() for value in expected.values()]
    missed = np.concatenate(differences).astype(np.float64)
    if not np.isfinite(missed).all():
        raise ArithmeticError(
            f"the int8 graph of {source.run} answers with numbers that are not finite: leave out --int8"
        )
    return {
        "input": "text" if text else "random",
        "largest_difference": float(missed.max()),
        "mean_difference": float(missed.mean()),
        "sd_of_outputs": float(np.concatenate(outputs).astype(np.float64).std()),
    }


def text_to_measure(source: Source, text: Path) -> Corpus:
    """Returns the text in the model's tokens; ValueError if no loss can be measured on it, which is known before there
    is a graph."""
    if source.parts is not None:
        raise ValueError(
            f"--text measures masked language models, and the graph of {source.run} gives vectors of texts"
        )
    if not isinstance(source.model, LeanformerForMaskedLM):
        raise ValueError(f"--text measures masked language models, and {source.run} is a {type(source.model).__name__}")
    if source.tokenizer is None:
        raise ValueError(f"--text needs a tokenizer, and there is none in {source.run}: copy its files there")
    if not text.is_file():
        raise FileNotFoundError(f"{text} is no file: --text takes one text")
    corpus: Corpus = held_out(source.run, text)
    return corpus


def losses(source: Source, corpus: Corpus, graphs: dict[str, Path]) -> dict[str, Any]:
    """The masked-LM loss on a text by each graph, in nats."""
    text, length = corpus.path, pretrained.length(source.run)
    how = {"sequence_length": length, "batch_size": 1, "validation_sequences": None}
    batches = [
        part for batch in MaskedLM(corpus, TrainingSettings.of(how)).validation_batches(0, 1) for part in _few(batch)
    ]
    found = {}
    for name, path in graphs.items():
        session, total, targets = Session(path), 0.0, 0
        for batch in batches:
            ids = batch["input_ids"]
            known = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
            logits_BLV = torch.from_numpy(session({key: known[key] for key in session.inputs})["logits"])
            logits_BNV = logits_BLV.take_along_dim(batch["masked_positions"][..., None], dim=1).double()
            total += float(F.cross_entropy(logits_BNV.flatten(0, 1), batch["labels"].flatten(), reduction="sum"))
            targets += int((batch["labels"] != IGNORED).sum())
        found[name] = total / targets
        if not math.isfinite(found[name]):
            raise ArithmeticError(f"{name} of {source.run} has a loss that is not finite on {text}")
    sequences = sum(len(batch["labels"]) for batch in batches)
    return {"text": text.name, "sequences": sequences, "sequence_length": length, "loss": found}


def _few(batch: Batch) -> Iterator[Batch]:
    """In parts whose scores fit into memory."""
    for start in range(0, len(batch["labels"]), AT_ONCE):
        yield {name: tensor[start : start + AT_ONCE] for name, tensor in batch.items()}
