"""How good the vectors of a model are on files of pairs, in each precision."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from leanformer.evaluation.sentence_encoder import Pooled, SentenceEncoder
from leanformer.evaluation.similarity import Pairs, measure
from leanformer.models.inference import PRECISIONS, for_inference

FULL = "fp32"


def quality(place: Path, pairs: Mapping[str, Pairs], precisions: tuple[str, ...] = (FULL, *PRECISIONS)) -> Any:
    """Returns {precision: {file: measurements}}; reduced precisions are measured on the first file alone."""
    first = dict(list(pairs.items())[:1])
    encoder, found = SentenceEncoder.open(place), {}
    for precision in precisions:
        used = encoder if precision == FULL else in_precision(encoder, precision)
        each = pairs if precision == FULL else first
        found[precision] = {name: measure(part, used.vectors) for name, part in each.items()}
    return found


def in_precision(encoder: SentenceEncoder, precision: str) -> SentenceEncoder:
    model = encoder.model
    return replace(encoder, model=Pooled(for_inference(model.encoder, precision), model.pool, model.prompt_length))
