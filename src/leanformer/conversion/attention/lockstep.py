"""Two models read a text layer by layer, the converted one beside its source: fits see what a layer will really read.

Errors of lower layers change the inputs of higher ones. So layer n is fitted to the hidden states x' that the layers
below, already converted, give it. Then its output map (O, d) is the one that makes the residual stream the source's:

    minimise  E | x'_i + O c_i + d  -  (x_i + f(x)_i) |^2  +  ridge |O - O_0|^2,      c_i = concat_h sum_j w'_ij v'_j

with x and f(x) the source's hidden states and attention output, c the converted heads' contexts and O_0 what the fit of
each head gave. It is a linear least-squares problem of E + 1 unknowns per output channel. Where the fit is exact,
x' = x and O = O_0. Of every batch each block is computed once.

Shape letters: B batch, L length, N tokens, D model width, H heads, E inner width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from leanformer.attention import MultiHeadAttention, Positions, with_window
from leanformer.conversion.attention.sample import Rows, Sample
from leanformer.conversion.attention.statistics import Statistics
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
    mean-pooled vectors of the rows (N, D) by the source and by the target."""

    divergence: list[float]
    source_vectors: Tensor
    target_vectors: Tensor


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
    old, new, batches = model.base_model, target.base_model, sample.batches
    before, after = ([_embedded(base, rows) for rows in batches] for base in (old, new))
    divergence = []
    for number, blocks in enumerate(zip(old.layers, new.layers, strict=True)):
        pair = _LayerPair(*blocks, batches, [_places(old, number, rows) for rows in batches])
        if fit is None:
            pair.run_source(before)
            pair.run_target(after)
        else:
            pair.run_source(before, after)
            inputs = pair.attention_inputs(after)
            fit(number, pair.source_attention, pair.target_attention, pair.statistics(inputs))
            pair.refit_target(after, inputs)
        divergence.append(pair.divergence)
    vectors = [
        torch.cat([_pooled(base.last_norm, x, rows) for x, rows in zip(states, batches, strict=True)])
        for base, states in ((old, before), (new, after))
    ]
    return Comparison(divergence, *vectors)


class _LayerPair:
    """One layer of both models over all batches, in the order in which the methods stand here.

    Lists of states, one per batch, are changed in place: those of two layers would fill the memory.
    """

    def __init__(self, source: Block, target: Block, batches: list[Rows], places: list["_Places"]) -> None:
        self.source, self.target, self.batches, self.places = source, target, batches, places
        self.source_attention, self.target_attention = (
            cast(MultiHeadAttention, each.attention) for each in (source, target)
        )
        interval = max(1, sum(rows.ids.numel() for rows in batches) // COMPARED)
        self.compared = range(0, len(batches), interval)
        """The batches whose attention weights are compared."""
        self.weights: dict[int, Tensor] = {}
        """The source's attention weights, by batch."""
        self.needed: list[Tensor] = []
        """What the target's attention should give, without padding: the source's output, and what the target's states
        miss of the source's."""
        self.table = _MeanWeights()
        self.kl = self.tokens = 0.0

    @property
    def divergence(self) -> float:
        return self.kl / self.tokens

    def run_source(self, states: list[Tensor], target_states: list[Tensor] | None = None) -> None:
        """Make the source's states those behind the layer; given the target's, also note what a fit needs."""
        all_weights = target_states is not None and not self.target_attention.mechanism.compares
        with _Seen(self.source_attention) as seen:
            for i, (rows, where, x) in enumerate(zip(self.batches, self.places, states, strict=True)):
                states[i] = self.source(x, *where, all_weights or i in self.compared)
                if i in self.compared:
                    self.weights[i] = seen.weights
                if all_weights:
                    self.table.add(seen.weights, rows)
                if target_states is not None:
                    drift = x - target_states[i] if type(self.source).forward is Block.forward else 0.0
                    self.needed.append(rows.kept(seen.output + drift))

    def run_target(self, states: list[Tensor]) -> None:
        """Make the target's states those behind the layer, and compare its attention weights with the source's."""
        with _Seen(self.target_attention) as seen:
            for i, where in enumerate(self.places):
                states[i] = self.target(states[i], *where, i in self.compared)
                self._compare(i, seen)

    def attention_inputs(self, states: list[Tensor]) -> list[Tensor]:
        """Returns what the target's attention reads of its states."""
        return [_read(self.target, x, where) for x, where in zip(states, self.places, strict=True)]

    def statistics(self, inputs: list[Tensor]) -> Statistics:
        kept = [rows.kept(x) for rows, x in zip(self.batches, inputs, strict=True)]
        return Statistics.of(torch.cat(kept), self.table.mean())

    def refit_target(self, states: list[Tensor], inputs: list[Tensor]) -> None:
        """Fit the target's output map, and make its states those behind the layer; attention is computed once."""
        attention, contexts = self.target_attention, list[Tensor]()
        output = cast(nn.Linear, attention.output)
        with _Seen(attention) as seen:
            for i, (rows, where, x) in enumerate(zip(self.batches, self.places, inputs, strict=True)):
                attention(x, mask=where.mask, positions=where.positions, return_weights=i in self.compared)
                contexts.append(seen.context)
                self.needed[i] -= rows.kept(seen.output)
                self._compare(i, seen)
        kept = [rows.kept(context) for rows, context in zip(self.batches, contexts, strict=True)]
        refit(output, torch.cat(kept), torch.cat(self.needed))
        for i, (where, context) in enumerate(zip(self.places, contexts, strict=True)):
            with _answering(attention, output(context)):
                states[i] = self.target(states[i], *where, False)

    def _compare(self, batch: int, seen: _Seen) -> None:
        if batch in self.compared:
            rows = self.batches[batch]
            self.kl += float(_kl(self.weights[batch], seen.weights, rows))
            self.tokens += float(rows.lengths.sum())


def refit(output: nn.Linear, contexts_NE: Tensor, missing_ND: Tensor) -> None:
    """Change the output map to the one whose answers are nearest to what they were and what they miss: the formula
    above."""
    c, y, bias = contexts_NE, missing_ND, output.bias is not None
    centre, level = (c.mean(0), y.mean(0)) if bias else (c.new_zeros(c.shape[1]), y.new_zeros(y.shape[1]))
    c, y = c - centre, y - level
    moment = (c.T @ c).double()
    ridge = RIDGE * moment.diagonal().mean().clamp(min=1e-300)
    step = torch.linalg.solve(moment + ridge * torch.eye(len(moment), dtype=moment.dtype), (c.T @ y).double()).T
    output.weight.copy_(output.weight.double() + step)
    if output.bias is not None:
        output.bias.add_(level.double() - step @ centre.double())


@contextmanager
def _answering(attention: MultiHeadAttention, answer: Tensor) -> Iterator[None]:
    """The attention gives this answer (B, L, D), whatever it reads."""
    vars(attention)["forward"] = lambda *_, **__: answer
    try:
        yield
    finally:
        del vars(attention)["forward"]


class _MeanWeights:
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


def _read(block: Block, x: Tensor, where: _Places) -> Tensor:
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
