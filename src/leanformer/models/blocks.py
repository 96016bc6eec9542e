"""What a BERT-like model is made of, with the attention slot in it.

Shape letters: B batch, L length, D model width.
"""

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from leanformer.attention import Dropout, MultiHeadAttention, Positions
from leanformer.models.config import LeanformerConfig


class Embeddings(nn.Module):
    """norm(word + token type + position), dropped out; (B, L, D). Rotary positions have no table here."""

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings: nn.Module = nn.Embedding(config.vocab_size, width, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width) if config.type_vocab_size else None
        self.position_embeddings = (
            nn.Embedding(config.max_position_embeddings, width) if config.positions == "learned" else None
        )
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, words_BLD: Tensor, token_type_ids: Tensor | None, position_ids: Tensor) -> Tensor:
        # What does not depend on the example is added up first: (1, L, D) or smaller, instead of (B, L, D) twice.
        added: Tensor | float = 0.0
        if self.token_type_embeddings is not None:
            types = self.token_type_embeddings
            added = types.weight[0] if token_type_ids is None else types(token_type_ids)
        if self.position_embeddings is not None:
            added = added + self.position_embeddings(position_ids)
        return self.dropout(self.norm(words_BLD + added))


class FeedForward(nn.Module):
    """down(activation(up(x))), one hidden layer of `intermediate_size`."""

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x_BLD)))


class Block(GradientCheckpointingLayer):
    """x <- norm(x + dropout(attention(x))),  then  x <- norm(x + dropout(feed_forward(x))): BERT's post-norm block."""

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.attention = MultiHeadAttention(
            config.attention,
            width,
            config.num_attention_heads,
            config.max_position_embeddings,
            dropout=config.attention_probs_dropout_prob,
            head_size=config.head_size,
            **config.attention_options,
        )
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, x_BLD: Tensor, mask: Tensor | None, positions: Positions, return_weights: bool = False) -> Tensor:
        # Asked for weights, attention returns them beside the context; a hook of transformers collects them from there.
        attended = self.attention(x_BLD, mask=mask, positions=positions, return_weights=return_weights)
        context_BLD = attended[0] if return_weights else attended
        x_BLD = self.attention_norm(x_BLD + self.dropout(context_BLD))
        return self.feed_forward_norm(x_BLD + self.dropout(self.feed_forward(x_BLD)))


class Pooler(nn.Module):
    """tanh of an affine map of the first token's state; (B, D)."""

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x_BLD: Tensor) -> Tensor:
        return torch.tanh(self.dense(x_BLD[:, 0]))


class MaskedLMHead(nn.Module):
    """decoder(norm(activation(transform(x)))): a score for every word of the vocabulary."""

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__()
        self.transform = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.norm(self.activation(self.transform(x))))
