"""Token types that pre-training never reads.

It reads one text a sequence, so of the table of token types its loss reaches the first row alone; a task of two texts
gives the second text another row. Left where it was drawn, that row is missing what every token was trained with, and
a model learns to compare two texts by luck, if at all. So rows that were not read are saved as the one that was:

    types[i] <- types[0]    for i > 0

Fine-tuning draws them apart where that helps. Types that differ in a model that training started from were read by
someone (BERT's, by next-sentence prediction), and stay.
"""

import torch
from torch import nn

from leanformer.models.blocks import Embeddings


def alike(model: nn.Module) -> bool:
    """Whether all its token types are the same, bit by bit."""
    return all(torch.equal(table, table[:1].expand_as(table)) for table in _tables(model))


@torch.no_grad()
def follow_the_first(model: nn.Module) -> None:
    for table in _tables(model):
        table[1:] = table[0]


def _tables(model: nn.Module) -> list[torch.Tensor]:
    found = [module.token_type_embeddings for module in model.modules() if isinstance(module, Embeddings)]
    return [table.weight for table in found if table is not None]
