"""The residual CNN of names (Lai, Ji and Zhai, 2021, "BERT might be Overkill: A Tiny but Effective Biomedical Entity
Linker based on Residual Convolutional Neural Networks").

    h_0 = W_in e                                    E -> D, of word-piece embeddings e
    h_l = h_{l-1} + MLP( [conv_1; conv_3; conv_5](h_{l-1}) )      l = 1 .. 4
    x = max_t h_4,t / ||.||

conv_k has C = 100 filters of width k and a ReLU, and reads zeros beyond the ends; the MLP is 3 C -> 278 -> D with a
ReLU and dropout between. The authors' code lets padding into convolutions and maximum, so that a name's vector depends
on the batch; here states of padding are zeros, as beyond the ends, and never the maximum.

    parameters without embeddings     E D + D + 4 ( 9 C D + 3 C  +  3 C 278 + 278  +  278 D + D )

which is 1,740,072 at E = 768, D = 256. B batch, L length, E width of embeddings, D of states, C filters.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, BLOCKS, FILTERS, HIDDEN = 256, 4, 100, 278
KERNELS = (1, 3, 5)
DROPOUT = 0.2


class ResidualCNN(nn.Module):
    """The network from ids and mask (B, L) to vectors (B, D) of unit length."""

    def __init__(self, embeddings: nn.Module, embedding_width: int) -> None:
        """`embeddings` turns ids (B, L) into (B, L, E); whether they learn is theirs to say."""
        super().__init__()
        self.embeddings = embeddings
        self.enter = nn.Linear(embedding_width, WIDTH)  # a convolution of width 1
        self.blocks = nn.ModuleList([Block() for _ in range(BLOCKS)])

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Tensor) -> Tensor:
        mask_BL1 = attention_mask[..., None].bool()
        states_BLD = self.enter(self.embeddings(input_ids)).masked_fill(~mask_BL1, 0.0)
        for block in self.blocks:
            states_BLD = block(states_BLD).masked_fill(~mask_BL1, 0.0)
        return F.normalize(states_BLD.float().masked_fill(~mask_BL1, -math.inf).amax(1), dim=-1)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv1d(WIDTH, FILTERS, k, padding=k // 2) for k in KERNELS])
        self.up = nn.Linear(len(KERNELS) * FILTERS, HIDDEN)
        self.dropout = nn.Dropout(DROPOUT)
        self.down = nn.Linear(HIDDEN, WIDTH)

    def forward(self, states_BLD: Tensor) -> Tensor:
        states_BDL = states_BLD.transpose(1, 2)
        seen_BLC = torch.cat([conv(states_BDL) for conv in self.convolutions], dim=1).relu().transpose(1, 2)
        return states_BLD + self.down(self.dropout(self.up(seen_BLC).relu()))
