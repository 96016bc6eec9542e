"""The first layer of a BERT-like model, from words and places to hidden states.

Shape letters: B batch, L length, D model width.
"""

import torch
from torch import Tensor, nn

from leanformer.attention import Dropout
from leanformer.models.config import LeanformerConfig


class Embeddings(nn.Module):
    """norm(word + token type + position), dropped out; (B, L, D). Rotary positions have no table here, and neither has
    a decoder for token types: it writes one text. Embeddings of another width than D, `config.embedding_size`, are then
    mapped to it.
    """

    def __init__(self, config: LeanformerConfig, token_types: bool = True) -> None:
        super().__init__()
        width, types = config.embedding_width(), config.type_vocab_size if token_types else 0
        self.word_embeddings: nn.Module = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(types, width) if types else None
        self.position_embeddings = (
            nn.Embedding(config.max_position_embeddings, width) if config.positions == "learned" else None
        )
        self.norm = new_norm(config, width)
        self.dropout = Dropout(config.hidden_dropout_prob)
        factorised = width != config.hidden_size
        self.projection = nn.Linear(width, config.hidden_size, bias=config.biases) if factorised else None
        self.wide = config.residual_in_fp32

    def forward(self, words_BLD: Tensor, token_type_ids: Tensor | None, position_ids: Tensor) -> Tensor:
        # What does not depend on the example is added up first: (1, L, D) or smaller, instead of (B, L, D) twice.
        added: Tensor | float = 0.0
        if self.token_type_embeddings is not None:
            types = self.token_type_embeddings
            added = types.weight[0] if token_type_ids is None else types(token_type_ids)
        if self.position_embeddings is not None:
            added = added + self.position_embeddings(position_ids)
        x_BLD = self.dropout(self.norm(words_BLD + added))
        if self.projection is not None:
            x_BLD = self.projection(x_BLD)
        device = x_BLD.device.type
        if self.wide or not torch.is_autocast_enabled(device):
            return x_BLD
        return x_BLD.to(torch.get_autocast_dtype(device))  # and what is added to it keeps that type


def new_norm(config: LeanformerConfig, width: int | None = None) -> nn.LayerNorm:
    return nn.LayerNorm(width or config.hidden_size, eps=config.layer_norm_eps, bias=config.biases)
