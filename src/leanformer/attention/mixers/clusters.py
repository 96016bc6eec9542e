"""Attention to clusters of the memory instead of its tokens (Xie, Zhang, Xia and Wu, 2022, "ClusTR: Exploring Efficient
Self-attention via Clustering for Vision Transformers").

    y_c     = sum_j e^(u . x_j) x_j / sum_j e^(u . x_j)      over the tokens j of cluster c (`density_peaks`)
    context = attention of all N queries to the M means y, keys and values made of them; a softmax over M, not N

The scores are N x M. It saves those, not weights: u is D numbers more. What the name hides is that distances between
all tokens take 2 N^2 D operations. With two `scales` there are 4 M clusters besides, from the same pass, with keys and
values of their own; the query is shared, and the two contexts are added before the output map.

M is N / `ratio`, rounded up, of an example's own tokens, or the number `clusters`. As the means have no place,
positions cannot be rotary, and mechanisms with tables of positions are refused. A bias of the scores u . x, which the
authors' code has, cancels in the means; what it adds to their denominators against empty clusters is not needed where
those are masked. Clusters are a function of the input (no noise). Its published results are on images, not on text.

Shape letters: B batch, N tokens, M clusters, D width, H heads, K head size.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from leanformer.attention.attend import attend, attention_weights
from leanformer.attention.density_peaks import density_peaks, members
from leanformer.attention.grouped_heads import kv_shape
from leanformer.attention.layer import MultiHeadAttention
from leanformer.attention.logits import Heads, Logits, repeated
from leanformer.attention.mixers.masks import tokens_of
from leanformer.attention.positions import Positions
from leanformer.attention.projections import Separate
from leanformer.attention.registry import Mechanism
from leanformer.attention.shape import Shape
from leanformer.attention.some_queries import take

GROWTH = 4
"""Clusters of a scale for each of the one before."""


class ClusteredMemory(MultiHeadAttention):
    """The formula above. With M_1 (and M_2 = 4 M_1) clusters of N tokens it has, besides the mechanism's, whose memory
    is the M_1 means,

        D + 2 (D E + b E) for a second scale                          parameters, more than plain attention
        2 N^2 D + 2 N D + sum_s 2 M_s N D, and a second attention     FLOPs

    `neighbours` is k. ValueError for more clusters than tokens, for a mechanism that cannot attend to another memory,
    and for two scales of a projection that ties the key to another map. Asked for weights, it gives those that tokens
    have: a cluster's, shared out by their parts in its mean; of two scales the mean.
    """

    paper = "Xie et al. 2022"
    keeps_places = False

    def __init__(
        self,
        mechanism: str,
        hidden_size: int,
        num_heads: int,
        max_length: int,
        bias: bool = True,
        dropout: float = 0.0,
        head_size: int | None = None,
        qk_norm: bool = False,
        *,
        ratio: int = 4,
        clusters: int | None = None,
        neighbours: int = 5,
        scales: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(mechanism, hidden_size, num_heads, max_length, bias, dropout, head_size, qk_norm, **options)
        if not self.mechanism.cross:
            raise ValueError(f"mixer 'clusters' attends to means without a place, and {mechanism} needs places")
        for name, value in (
            ("ratio", ratio),
            ("neighbours", neighbours),
            ("clusters", 1 if clusters is None else clusters),
        ):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} = {value!r}: a whole number from 1 on")
        if scales not in (1, 2):
            raise ValueError(f"scales = {scales!r}: one or two")
        if scales == 2 and not isinstance(self.projection, Separate):
            raise ValueError("scales = 2 gives the second its own key and value: it needs projection = 'separate'")
        self.mixing = {"ratio": ratio, "clusters": clusters, "neighbours": neighbours, "scales": scales}
        self.neighbours = neighbours
        self.counts(max_length)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        if scales == 2:
            keys = self.projection.kv_shape
            self.fine_key, self.fine_value = self.projection.linear(keys), self.projection.linear(keys)

    def counts(self, length: int) -> list[int]:
        """M, of each scale; ValueError if there are more clusters than tokens."""
        return _counts(length, **self.mixing)

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        mask: Tensor | None = None,
        positions: Positions | None = None,
        *,
        causal: bool = False,
        cache: Callable[[Heads], Heads] | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        if memory is not None or causal or cache is not None:
            raise ValueError("mixer 'clusters' makes means of one whole sequence: an encoder's only")
        return self._mix(x, mask, positions, return_weights)

    def at(
        self,
        places: Tensor,
        x: Tensor,
        mask: Tensor | None = None,
        positions: Positions | None = None,
        cache: Callable[[Heads], Heads] | None = None,
    ) -> Tensor:
        """Clusters are of all tokens, and the queries at these places alone attend to them."""
        if not self.serves_some(self.mechanism) or cache is not None:
            return super().at(places, x, mask, positions, cache)
        some = self._mix(x, mask, positions, False, places)
        assert isinstance(some, Tensor)
        return some

    @classmethod
    def serves_some(cls, mechanism: Mechanism) -> bool:
        return cls.forward is ClusteredMemory.forward and cls.merge is MultiHeadAttention.merge

    def _mix(
        self,
        x: Tensor,
        mask: Tensor | None,
        positions: Positions | None,
        return_weights: bool,
        places: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        if positions is not None and positions.query_rotation is not None:
            raise ValueError(
                "mixer 'clusters' attends to means: rotary positions cannot rotate them, take learned ones"
            )
        self.check_length(x)
        some = x if places is None else take(x, places)
        tokens_BN = tokens_of(mask)
        peaks = density_peaks(x, None if tokens_BN is None else tokens_BN.expand(x.shape[0], -1), self.neighbours)
        score_B11N = self.score(x)[..., 0][:, None, None, :]
        context, weights, query = [], [], None
        dropout = self.dropout if self.training else 0.0
        for scale, most in enumerate(self.counts(x.shape[1])):
            real_B = self._counts_of(peaks.tokens.sum(-1), scale)
            belongs_B1MN = members(peaks, most, real_B)[:, None]
            share_B1MN = attention_weights(Logits(bias=score_B11N), belongs_B1MN)  # 0 where a cluster is empty
            means_BMD = (share_B1MN @ x[:, None].to(share_B1MN.dtype))[:, 0]
            heads = self.projection(some, means_BMD) if query is None else self._fine(means_BMD, query)
            query = heads.query
            numbered = Positions.counted(some.shape[1], means_BMD.shape[1], x.device)
            logits = self.compatibility(heads, some, means_BMD, numbered)
            present = None
            if tokens_BN is not None:
                number_M = torch.arange(means_BMD.shape[1], device=x.device)
                present = (number_M < real_B[:, None])[:, None, None, :]
            if return_weights:
                weights_BHNM = attention_weights(logits, present, dropout)
                context.append(weights_BHNM @ repeated(heads.value, weights_BHNM.shape[1]))
                weights.append(weights_BHNM @ share_B1MN.to(weights_BHNM.dtype))
            else:
                context.append(attend(logits, heads.value, present, dropout, fused=self.fused))
        merged = self.merge(sum(context[1:], context[0]), some, heads, mask)
        return (merged, sum(weights[1:], weights[0]) / len(weights)) if return_weights else merged

    def _fine(self, means_BMD: Tensor, query: Tensor) -> Heads:
        key, value = self.projection.heads(means_BMD, self.fine_key, self.fine_value)
        return Heads(value, query, self.projection.key_norm(key))

    def _counts_of(self, tokens_B: Tensor, scale: int) -> Tensor:
        """M of each example, by its own tokens."""
        if self.mixing["clusters"] is not None:
            return tokens_B.clamp(max=self.mixing["clusters"] * GROWTH**scale)
        return (tokens_B * GROWTH**scale + self.mixing["ratio"] - 1) // self.mixing["ratio"]

    @classmethod
    def count_params(cls, mechanism: Mechanism, whole: Shape, options: Mapping[str, Any], **mixing: Any) -> int:
        keys = kv_shape(whole, mechanism.kv_heads(whole, **options))
        fine = 2 * keys.linear_params * (mixing.get("scales", 1) - 1)
        return mechanism.num_params(whole, **options) + whole.hidden_size + fine

    @classmethod
    def count_flops(
        cls,
        mechanism: Mechanism,
        whole: Shape,
        options: Mapping[str, Any],
        length: int,
        memory: int | None = None,
        **mixing: Any,
    ) -> int:
        counts = _counts(length, **mixing)
        distances, scores = 2 * length**2 * whole.hidden_size, 2 * length * whole.hidden_size
        means = 2 * sum(counts) * length * whole.hidden_size
        attended = sum(mechanism.flops(whole, length, count, **options) for count in counts)
        once = (len(counts) - 1) * whole.linear_flops(length)  # the query is shared
        return distances + scores + means + attended - once

    @classmethod
    def count_unread_flops(
        cls, mechanism: Mechanism, whole: Shape, options: Mapping[str, Any], length: int, read: int, **mixing: Any
    ) -> int:
        if not cls.serves_some(mechanism):
            return 0
        counts = _counts(length, **mixing)
        attended = (
            mechanism.flops(whole, length, count, **options) - mechanism.flops(whole, read, count, **options)
            for count in counts
        )
        twice = (len(counts) - 1) * whole.linear_flops(length - read)  # the query is shared
        return sum(attended) - twice + whole.linear_flops(length - read)

    @classmethod
    def count_unlearned_flops(
        cls, mechanism: Mechanism, whole: Shape, length: int, read: int | None = None, **mixing: Any
    ) -> int:
        """No gradient goes through distances."""
        return 4 * length**2 * whole.hidden_size

    @classmethod
    def count_keys(cls, length: int, **mixing: Any) -> int:
        return sum(_counts(length, **mixing))


def _counts(length: int, ratio: int = 4, clusters: int | None = None, scales: int = 1, **_: Any) -> list[int]:
    finest = GROWTH ** (scales - 1)
    if clusters is None:
        if finest > ratio:
            raise ValueError(f"ratio = {ratio}: {finest} / {ratio} clusters a token are more clusters than tokens")
        # Rounded up without negative numbers, which ONNX divides otherwise.
        return [(length * GROWTH**scale + ratio - 1) // ratio for scale in range(scales)]
    if clusters * finest > length:
        raise ValueError(
            f"clusters = {clusters * finest} are more than the sequence's {length} tokens: "
            "ask for fewer, or give a ratio"
        )
    return [clusters * GROWTH**scale for scale in range(scales)]
