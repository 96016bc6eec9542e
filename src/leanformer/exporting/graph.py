"""The model as an ONNX graph, for any batch and every length it reads.

    inputs     input_ids, attention_mask and, where the model and its tokenizer know them, token_type_ids
               (batch, sequence), of multiple choice (batch, choices, sequence); of an encoder-decoder
               decoder_input_ids (batch, target); all int64
    outputs    as transformers calls them: logits (batch, sequence, V), start_logits, last_hidden_state, ...; with the
               parts of sentence-transformers also sentence_embedding (batch, E), as sentence-transformers calls it

Decoders come without a cache: one pass over all that has been written. Where a table of N positions is cut to the
sequence, the tracer insists on sequences shorter than N; the graph it makes cuts at run time, and reads N all the same,
which `graph_check` checks.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from leanformer.errors import reason
from leanformer.evaluation.sentence_reading import default_prompt, prompt_length
from leanformer.exporting.source import Source, sample
from leanformer.install import how_to_install
from leanformer.models.sentence_parts import SentenceParts
from leanformer.models.sentence_pooling import sentence_pooling

NEEDED = ("onnx", "onnxscript", "onnxruntime")
TRACED = (3, 11)
"""Batch and length of the example; any others would do, but for 0 and 1 and a length that is not below the longest."""
LARGEST = 1_900_000_000
"""Bytes in one file; ONNX allows 2^31."""


class SentenceModel(nn.Module):
    """An encoder with the parts of sentence-transformers; its output is the encoder's, and sentence_embedding.

    The first `left_out` tokens of every text are those of a prompt that the parts do not pool.
    """

    def __init__(self, encoder: Any, parts: SentenceParts, left_out: int = 0) -> None:
        super().__init__()
        self.encoder, self.left_out = encoder, left_out
        self.pooling = sentence_pooling(parts, encoder.config.hidden_size)

    def forward(self, attention_mask: Tensor, **inputs: Any) -> dict[str, Tensor]:
        found = dict(self.encoder(attention_mask=attention_mask, **inputs))
        vectors_BE = self.pooling(found["last_hidden_state"], attention_mask, self.left_out)
        return found | {"sentence_embedding": vectors_BE}


def encoder_of(source: Source) -> Source:
    """The source without its head if it has the parts of sentence-transformers, whose graph computes vectors."""
    if source.parts is None:
        return source
    encoder: Any = source.model.base_model
    encoder.config.architectures = [type(encoder).__name__]
    return source._replace(model=encoder)


def computed(source: Source) -> nn.Module:
    """What the graph computes: the source's model, which becomes float32."""
    model: Any = source.model.float()
    if source.parts is not None:
        model = SentenceModel(model, source.parts, left_out(source))
    return model.eval()


def left_out(source: Source) -> int:
    """Returns the number of tokens at the beginning of a text that its vector leaves out: those of the default prompt,
    where the parts do not pool it; ValueError where no tokenizer says how many these are."""
    prompt, parts = default_prompt(source.parts), source.parts
    if parts is None or not prompt or sentence_pooling(parts, source.config.hidden_size).include_prompt:
        return 0
    if source.tokenizer is None:
        raise ValueError(
            f"the parts of {source.run} do not pool the prompt {prompt!r}, and no tokenizer says how many tokens it "
            "has: copy the tokenizer's files there"
        )
    return prompt_length(source.tokenizer, prompt, parts.max_length(source.config.max_position_embeddings))


class Positional(nn.Module):
    """The model with inputs by place and a tuple of tensors as output."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.outputs(inputs).values())

    def outputs(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        found = self.model(**dict(zip(self.names, inputs, strict=True)), return_dict=True)
        return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def require_packages() -> None:
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise ValueError(f"ONNX needs {', '.join(missing)}, not installed here: {how_to_install('export')}")


def inputs_of(source: Source, size: int, length: int) -> dict[str, Tensor]:
    """Random ones, by the graph's names."""
    inputs = sample(source.config, source.model, size, length)
    if source.tokenizer is not None and "token_type_ids" not in source.tokenizer.model_input_names:
        inputs.pop("token_type_ids", None)
    return inputs


def write(source: Source, path: Path) -> dict[str, Any]:
    """The graph at `path`, in float32; its opset, and its inputs and outputs by name. ValueError, with the mechanism's
    name, if the model cannot be traced."""
    import onnx
    from onnx_ir.passes.common import DeduplicateInitializersPass

    longest = source.config.max_position_embeddings
    size, length = TRACED[0], min(TRACED[1], longest - 1)
    if length < 2:
        raise ValueError(f"max_position_embeddings = {longest}: an ONNX graph needs room for 3 tokens")
    inputs = inputs_of(source, size, length)
    graph = Positional(computed(source._replace(model=deepcopy(source.model))), list(inputs)).eval()
    with torch.no_grad():
        outputs = list(graph.outputs(tuple(inputs.values())))
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence", max=longest - 1)
    target = torch.export.Dim("target", max=longest - 1)
    axes = tuple(
        {0: batch, x.ndim - 1: target if name == "decoder_input_ids" else sequence}
        | ({1: torch.export.Dim("choices")} if x.ndim == 3 else {})
        for name, x in inputs.items()
    )
    weights = sum(parameter.numel() * 4 for parameter in graph.parameters())
    try:
        with _silent():
            program = torch.onnx.export(
                graph,
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=outputs,
                dynamic_shapes=(axes,),
                verbose=False,
            )
            assert program is not None
            # Of a map that layers share the exporter transposes a copy for each.
            DeduplicateInitializersPass(size_limit=weights)(program.model)
            program.save(str(path), external_data=weights > LARGEST)
    except Exception as error:  # the exporter's own, and any of the many below it
        cause = error.__cause__ or error  # the exporter wraps it in advice
        raise ValueError(
            f"{' and '.join(source.mechanisms)} cannot be written as ONNX ({reason(cause)[:200]})"
        ) from error
    _forget_where_it_was_made(path)
    opset = max(each.version for each in onnx.load(str(path), load_external_data=False).opset_import)
    return {"opset": opset, "inputs": list(inputs), "outputs": outputs}


def _forget_where_it_was_made(path: Path) -> None:
    """Without the stack traces that the exporter gives every node: half of a small file, and paths of this machine."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    for part in (model.graph, *model.functions):
        for each in (*part.node, *part.value_info):
            del each.metadata_props[:]
        del part.metadata_props[:]
    onnx.save(model, str(path))


@contextmanager
def _silent() -> Iterator[None]:
    """Without the exporter's warnings, of its own deprecations and of packages that are not needed, and without what it
    prints: standard output is the command's."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
