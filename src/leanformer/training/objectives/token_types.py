"""Token types that pre-training never reads.

Pre-training reads one text per sequence, so it trains only the first row of the table of token types; a task of two
texts gives the second text another row. At its initial value that row lacks what the first row has learned, and
fine-tuning learns to compare two texts only by luck. So rows that were not trained are saved as copies of the first:

    types[i] <- types[0]    for i > 0

Fine-tuning can move them apart. If the types differ in the model that training started from, they were trained before
(BERT's by next-sentence prediction), and stay as they are.
"""

import torch
from torch import nn

from leanformer.models.embeddings import Embeddings


def alike(model: nn.Module) -> bool:
    """Whether all token types of the model are the same, bit for bit."""
    return all(torch.equal(table, table[:1].expand_as(table)) for table in _tables(model))


@torch.no_grad()
def follow_the_first(model: nn.Module) -> None:
    """Set all token types of the model to the first one."""
    for table in _tables(model):
        table[1:] = table[0]


def _tables(model: nn.Module) -> list[torch.Tensor]:
    tables = [module.token_type_embeddings for module in model.modules() if isinstance(module, Embeddings)]
    return [table.weight for table in tables if table is not None]
