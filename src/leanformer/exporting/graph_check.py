"""Whether an ONNX graph answers as the model does.

    |graph - model| <= 1e-4 + 1e-4 |model|    of every number, on random tokens and on text, short and long

Every second random sequence has padding, and the last of several is nothing but padding: no answer may be NaN.
"""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leanformer.data.readers import documents
from leanformer.errors import reason
from leanformer.exporting.graph import computed, inputs_of
from leanformer.exporting.source import Source
from leanformer.exporting.standalone_check import answers
from leanformer.models import LeanformerForMultipleChoice

TOLERANCE = 1e-4
"""Absolute and relative: other kernels, of the same float32."""
Arrays = dict[str, NDArray[np.float32]]


class Session:
    """A graph that onnxruntime runs on the CPU, with as many threads as torch."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = [each.name for each in self.session.get_inputs()]
        self.outputs = [each.name for each in self.session.get_outputs()]

    def __call__(self, inputs: dict[str, Tensor]) -> Arrays:
        try:
            found = self.session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
        except Exception as error:  # onnxruntime's own, of several kinds
            size, *_, length = inputs["input_ids"].shape
            raise ValueError(
                f"the ONNX graph fails on {size} x {length} tokens ({reason(error)[:200]}): nothing was written"
            ) from None
        return dict(zip(self.outputs, found, strict=True))


def cases(source: Source) -> list[tuple[str, dict[str, Tensor]]]:
    """What is asked: (random or text, the inputs)."""
    longest = source.config.max_position_embeddings
    shapes = dict.fromkeys([(1, 1), (1, longest), (2, longest), (5, max(2, longest // 3)), (3, longest - 1)])
    asked = [("random", inputs_of(source, size, length)) for size, length in shapes]
    for _, inputs in asked:
        if len(inputs["attention_mask"]) > 2:
            inputs["attention_mask"][-1] = 0
    return asked if source.tokenizer is None else [*asked, ("text", _text(source, longest))]


def verify(source: Source, path: Path) -> list[dict[str, Any]]:
    """A row a case: its shape and the largest difference. ValueError if one exceeds the tolerance, or is NaN."""
    session, rows = Session(path), []
    model = computed(source)
    for kind, inputs in cases(source):
        size, *_, length = inputs["input_ids"].shape
        expected, found, largest = answers(model, inputs), session(inputs), 0.0
        for name, tensor in expected.items():
            here, there = tensor.numpy(), found[name]
            largest = max(largest, float(np.abs(here - there).max()))
            if here.shape != there.shape or not np.isclose(there, here, rtol=TOLERANCE, atol=TOLERANCE).all():
                raise ValueError(
                    f"{' and '.join(source.mechanisms)}: the ONNX graph differs by {largest:.2g} in {name} on {kind} "
                    f"input of {size} x {length} tokens: nothing was written"
                )
        rows.append({"input": kind, "batch": size, "length": length, "difference": largest})
    return rows


def _text(source: Source, longest: int) -> dict[str, Tensor]:
    """Some paragraphs of the text that ships with leanformer, padded to the longest of them."""
    tokenizer = source.tokenizer
    assert tokenizer is not None
    texts = [text for text in islice(documents("shipped:novels"), 40) if len(text) > 40][:4]
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=min(longest, 128), return_tensors="pt")
    inputs = inputs_of(source, 1, 2)
    if "decoder_input_ids" in inputs:
        encoded["decoder_input_ids"] = encoded["input_ids"].flip(0)
    if isinstance(source.model, LeanformerForMultipleChoice):
        encoded = {name: x[: len(x) // 2 * 2].unflatten(0, (-1, 2)) for name, x in encoded.items()}
    return {name: encoded[name] for name in inputs}
