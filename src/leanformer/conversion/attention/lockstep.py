"""Two models read a text layer by layer, the converted one beside its source: fits see what a layer will really read.

Errors of lower layers change the inputs of higher ones. So layer n is fitted to the hidden states x' that the layers
below, already converted, give it. Then its output map (O, d) is the one that makes the residual stream the source's:

    minimise  E | x'_i + O c_i + d  -  (x_i + f(x)_i) |^2  +  ridge |O - O_0|^2,      c_i = concat_h sum_j w'_ij v'_j

with x and f(x) the source's hidden states and attention output, c the converted heads' contexts and O_0 what the fit of
each head gave. It is a linear least-squares problem of E + 1 unknowns per output channel. Where the fit is exact,
x' = x and O = O_0.

Shape letters: B batch, L length, N tokens, D model width, H heads, E inner width.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from leanformer.attention import MultiHeadAttention, Positions, with_window
from leanformer.conversion.attention.sample import Rows, Sample
from leanformer.conversion.attention.statistics import Statistics
from leanformer.conversion.attention.vectors import Vectors
from leanformer.models.blocks import Block
from leanformer.models.local_attention import is_local

RIDGE = 1e-3
"""The ridge of the output map, as a fraction of the contexts' mean variance."""
COMPARED = 4_096
"""Most tokens whose attention weights are compared: the weights of all tokens would fill the memory."""

Fit = Callable[[int, MultiHeadAttention, MultiHeadAttention, Statistics], None]
"""Sets the attention of a layer of this number, given that of the source and the statistics of what it reads."""


class Comparison(NamedTuple):
    """By layer the mean KL(w || w') between the models' attention weights in nats, over heads and tokens; and the
    models' mean-pooled vectors of the rows."""

    divergence: list[float]
    vectors: Vectors


class _Seen:
    """What an attention layer computed last, by hooks: `context` (B, L, E), `output` (B, L, D), and `weights`."""

    def __init__(self, layer: MultiHeadAttention) -> None:
        self.context = self.output = torch.empty(0)
        self._weights: Tensor | None = None
        self.handles = [
            layer.output.register_forward_hook(self._mapped),
            layer.register_forward_hook(self._weighted),
        ]

    def __enter__(self) -> "_Seen":
        return self

    def __exit__(self, *_: Any) -> None:
        for handle in self.handles:
            handle.remove()

    def _mapped(self, _module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.context, self.output = inputs[0], output

    def _weighted(self, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._weights = output[1] if isinstance(output, tuple) else None

    @property
    def weights(self) -> Tensor:
        assert self._weights is not None, "the layer was run without return_weights"
        return self._weights


@torch.no_grad()
def lockstep(model: Any, target: Any, sample: Sample, fit: Fit | None = None) -> Comparison:
    """Run both models over the sample; with `fit`, set the target's attention on the way, layer by layer."""
    old, new = model.base_model, target.base_model
    batches = sample.batches
    before, after = ([_embedded(base, rows) for rows in batches] for base in (old, new))
    every = max(1, sum(rows.ids.numel() for rows in batches) // COMPARED)
    divergence = []
    for number, (layer, other) in enumerate(zip(old.layers, new.layers, strict=True)):
        places = [_places(old, number, rows) for rows in batches]
        looks = fit is not None and not other.attention.mechanism.compares
        read, given, contexts, wanted = before, list[Tensor](), list[Tensor](), list[Tensor]()
        weights = dict[int, Tensor]()
        table = _Table()
        before = []
        with _Seen(layer.attention) as seen:
            for i, (rows, where, x, x2) in enumerate(zip(batches, places, read, after, strict=True)):
                before.append(layer(x, *where, looks or i % every == 0))
                drift = x - x2 if type(layer).forward is Block.forward else 0.0
                wanted.append(rows.kept(seen.output + drift) if fit is not None else torch.empty(0))
                if looks:
                    table.add(seen.weights, rows)
                if i % every == 0:
                    weights[i] = seen.weights
        if fit is not None:
            given = [_given(other, x, where) for x, where in zip(after, places, strict=True)]
            inputs = torch.cat([rows.kept(x) for rows, x in zip(batches, given, strict=True)])
            fit(number, layer.attention, other.attention, Statistics.of(inputs, table.mean()))
        kl = count = 0.0
        read, after = after, []
        with _Seen(other.attention) as seen:
            for i, (rows, where, x) in enumerate(zip(batches, places, read, strict=True)):
                compared = i in weights
                if fit is None:
                    after.append(other(x, *where, compared))
                else:
                    other.attention(given[i], mask=where.mask, positions=where.positions, return_weights=compared)
                    contexts.append(rows.kept(seen.context))
                if compared:
                    kl += float(_kl(weights[i], seen.weights, rows))
                    count += float(rows.lengths.sum())
        divergence.append(kl / count)
        if fit is not None:
            refit(other.attention.output, torch.cat(contexts), torch.cat(wanted))
            after = [other(x, *where, False) for x, where in zip(read, places, strict=True)]
    pooled = [
        torch.cat([_pooled(base.last_norm, x, rows) for x, rows in zip(states, batches, strict=True)])
        for base, states in ((old, before), (new, after))
    ]
    return Comparison(divergence, Vectors(*pooled))


def refit(output: nn.Linear, contexts_NE: Tensor, wanted_ND: Tensor) -> None:
    """The output map whose answer to the contexts is nearest to what is wanted: the formula above."""
    c, y, bias = contexts_NE, wanted_ND - contexts_NE @ output.weight.T, output.bias is not None
    centre, level = (c.mean(0), y.mean(0)) if bias else (c.new_zeros(c.shape[1]), y.new_zeros(y.shape[1]))
    c, y = c - centre, y - level
    moment, start = (c.T @ c).double(), output.weight.double()
    ridge = RIDGE * moment.diagonal().mean().clamp(min=1e-300)
    step = torch.linalg.solve(moment + ridge * torch.eye(len(moment), dtype=moment.dtype), (c.T @ y).double()).T
    output.weight.copy_(start + step)
    if output.bias is not None:
        output.bias.copy_(level.double() - step @ centre.double())


class _Table:
    """Mean weights of every pair of places, over the rows that have both."""

    def __init__(self) -> None:
        self.total: Tensor | None = None

    def add(self, weights_BHLL: Tensor, rows: Rows) -> None:
        """Queries of padding are left out; keys of padding have no weight."""
        if rows.mask is not None:
            weights_BHLL = weights_BHLL * rows.mask[:, None, :, None]
        found = weights_BHLL.sum(0).double()
        if self.total is not None:  # rows come in order of their lengths
            found[:, : self.total.shape[1], : self.total.shape[2]] += self.total
        self.total = found

    def mean(self) -> Tensor | None:
        return None if self.total is None else self.total / self.total.sum(-1, keepdim=True)


class _Places(NamedTuple):
    """Which tokens a layer may attend to, and where they stand: of layers with a window other ones than of the rest."""

    mask: Tensor | None
    positions: Positions


def _places(base: Any, layer: int, rows: Rows) -> _Places:
    length, device = rows.ids.shape[1], rows.ids.device
    mask = None if rows.mask is None else rows.mask[:, None, None, :]
    if not is_local(base.config, layer):
        return _Places(mask, Positions.counted(length, length, device, base.rotary))
    mask = with_window(mask, length, base.config.sliding_window, device)
    return _Places(mask, Positions.counted(length, length, device, base.local_rotary))


def _embedded(base: Any, rows: Rows) -> Tensor:
    positions = Positions.counted(rows.ids.shape[1], rows.ids.shape[1], rows.ids.device)
    x: Tensor = base.embeddings(base.embeddings.word_embeddings(rows.ids), None, positions.query)
    return x


def _given(block: Block, x: Tensor, where: _Places) -> Tensor:
    """What the block's attention reads; of a block of another type, which may do anything before it, by a hook."""
    if type(block).forward is Block.forward:
        return block.attention_norm(x) if block.pre else x
    caught: list[Tensor] = []
    handle = block.attention.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    block(x, *where, False)
    handle.remove()
    return caught[0]


def _pooled(last_norm: nn.Module | None, x: Tensor, rows: Rows) -> Tensor:
    x = x if last_norm is None else last_norm(x)
    if rows.mask is None:
        return x.mean(1)
    return (x * rows.mask[..., None]).sum(1) / rows.lengths[:, None]


def _kl(old_BHLL: Tensor, new_BHLL: Tensor, rows: Rows) -> Tensor:
    """Sum over tokens of the heads' mean KL(w || w')."""
    old, new = old_BHLL.double(), new_BHLL.double()
    kl_BL = (torch.special.xlogy(old, old) - torch.special.xlogy(old, new.clamp(min=1e-30))).sum(-1).mean(1)
    return rows.kept(kl_BL).sum()
