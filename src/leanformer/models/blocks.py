"""What a BERT-like model is made of, with the attention slot in it.

Shape letters: B batch, L length, S length of what an encoder read, D model width.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.modeling_layers import GradientCheckpointingLayer

from leanformer.attention import Dropout, Positions, TokenMixer, build_mixer, take
from leanformer.attention.plugins import reference, referenced, require_free, require_name, require_subclass
from leanformer.models.block_types import BLOCKS, DECODER_BLOCKS, SEQUENTIAL
from leanformer.models.cache import encoded_once, remembered
from leanformer.models.config import LeanformerConfig
from leanformer.models.embeddings import new_norm
from leanformer.models.grouped_linear import GroupedLinear
from leanformer.models.layer_sharing import KeysAndValues


class FeedForward(nn.Module):
    """plain: down(activation(up(x))),   gated: down(activation(gate(x)) up(x)),   by `config.feed_forward`.

    One hidden layer of I = `intermediate_size`: 2 D I weights, gated 3 D I (Shazeer, 2020, "GLU Variants Improve
    Transformer"). Gate and up are two matrices, which a CPU multiplies as fast as one of 2 I rows: so a gated model
    starts from the plain one's up and down, and an optimizer that treats matrices as wholes sees two. With G =
    `feed_forward_groups` each is G maps between G-th parts (`GroupedLinear`), and has a G-th of the weights.
    """

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.up = _map(config, width, inner)
        self.gate = _map(config, width, inner) if config.feed_forward == "gated" else None
        self.activation = ACT2FN[config.hidden_act]
        self.down = _into_the_residual(_map(config, inner, width), config)

    def forward(self, x_BLD: Tensor) -> Tensor:
        if self.gate is None:
            return self.down(self.activation(self.up(x_BLD)))
        return self.down(self.activation(self.gate(x_BLD)) * self.up(x_BLD))


class Residual(GradientCheckpointingLayer):
    """post:  x <- norm(x + dropout(f(x))),    pre:  x <- x + dropout(f(norm(x))),    by `config.norm`.

    Post is BERT's and BART's; pre (Xiong et al., 2020, "On Layer Normalization in the Transformer Architecture") trains
    without a long warm-up, and wants a last norm behind the last block.
    """

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__()
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.pre = config.norm == "pre"

    def add(
        self, x_BLD: Tensor, norm: nn.Module, f: Callable[[Tensor], Any], places_BN: Tensor | None = None
    ) -> Tensor:
        """Returns the new x, (B, L, D); with places (B, N), for which alone f answers, x there, (B, N, D)."""
        # Asked for weights, attention returns them beside the context; a hook of transformers collects them from there.
        context = f(norm(x_BLD) if self.pre else x_BLD)
        x_BLD = x_BLD if places_BN is None else take(x_BLD, places_BN)
        x_BLD = x_BLD + self.dropout(context[0] if isinstance(context, tuple) else context)
        return x_BLD if self.pre else norm(x_BLD)


class Block(Residual):
    """Two residual steps: attention, or what mixes tokens in its place, then the feed-forward layer.

    Other block types derive from it (`register_block`) and define `forward`. They keep `attention`, where conversion,
    shared heads and the probes look for it, and declare for the ledger what differs.
    """

    norms: ClassVar[int] = 2
    feed_forwards: ClassVar[int] = 1
    norm_kinds: ClassVar[tuple[str, ...]] = ("post", "pre")
    """The values of `model.norm` that it can have."""
    mixers: ClassVar[tuple[str, ...]] = ()
    """The values of `model.mixer` that it can have; empty: all."""
    residual: ClassVar[bool] = True
    """Whether there is a residual step around the mixer."""

    @classmethod
    def count_params(cls, config: LeanformerConfig) -> int:
        """Returns the number of parameters besides those of attention, feed-forward layers and norms."""
        return 0

    @classmethod
    def count_flops(cls, config: LeanformerConfig, length: int) -> int:
        """Returns the forward FLOPs of one sequence besides those of attention and feed-forward layers."""
        return 0

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        self.attention = _attention(
            config, config.attention, config.attention_options, config.mixer, config.mixer_options
        )
        self.attention_norm = new_norm(config)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = new_norm(config)

    def forward(
        self,
        x_BLD: Tensor,
        mask: Tensor | None,
        positions: Positions,
        return_weights: bool = False,
        places_BN: Tensor | None = None,
        hands_on: bool = False,
        key: Tensor | None = None,
        value: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """The new states, (B, L, D), or those at `places_BN` alone, (B, N, D), of the last block of an encoder.

        With `hands_on` also the keys and values it attended to, which are those given, of an earlier layer, if any.
        """
        shared = KeysAndValues(key, value) if hands_on else None
        if places_BN is None:
            attend = partial(
                self.attention, mask=mask, positions=positions, cache=shared, return_weights=return_weights
            )
        else:
            attend = partial(self.attention.at, places_BN, mask=mask, positions=positions, cache=shared)
        x_BLD = self.add(x_BLD, self.attention_norm, attend, places_BN)
        x_BLD = self.add(x_BLD, self.feed_forward_norm, self.feed_forward)
        return x_BLD if shared is None else (x_BLD, *shared.attended())

    def __reduce__(self) -> tuple[Any, ...]:
        """A block is pickled with the plug-in that its class comes from, which another process loads first."""
        return _blank, reference(type(self)), self.__dict__


def register_block(name: str, made: type[Block]) -> None:
    """Make a block type known by its name to `model.block`. ValueError if it does not derive from `Block`."""
    require_name("block", name)
    require_free("block", name, BLOCKS)
    require_subclass(f"block {name!r}", made, Block)
    BLOCKS[name] = made


register_block(SEQUENTIAL, Block)


def _blank(module: str, name: str, plugin: Path | None) -> Block:
    kind = referenced(module, name, plugin)
    return kind.__new__(kind)


class DecoderBlock(Residual):
    """Three residual steps: causal self-attention, attention to what an encoder read, the feed-forward layer; a
    language model has no second one.

    `past_key_values` remembers the heads of layer `number` for the tokens to come; a block may be several layers.
    """

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__(config)
        self.attention = _attention(config, *config.decoder_self_attention(), config.mixer, config.mixer_options)
        self.attention_norm = new_norm(config)
        if config.is_encoder_decoder:
            self.cross_attention = _attention(config, config.cross_attention, config.cross_attention_options)
            self.cross_attention_norm = new_norm(config)
        self.feed_forward = FeedForward(config)
        self.feed_forward_norm = new_norm(config)

    def forward(
        self,
        x_BLD: Tensor,
        mask: Tensor | None,
        positions: Positions,
        states_BSD: Tensor | None = None,
        states_mask: Tensor | None = None,
        across: Positions | None = None,
        return_weights: bool = False,
        hands_on: bool = False,
        key: Tensor | None = None,
        value: Tensor | None = None,
        *,
        number: int = 0,
        past_key_values: Cache | None = None,
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """`across` are the positions of the cross-attention: those of its queries, and 0, 1, 2, ... of the S states.
        With `hands_on` keys and values of the self-attention are handed on, as by `Block`."""
        cache = remembered(past_key_values, number, positions.key.shape[-1])
        shared = KeysAndValues(key, value, cache) if hands_on else None
        attend = partial(
            self.attention,
            mask=mask,
            positions=positions,
            causal=True,
            cache=shared or cache,
            return_weights=return_weights,
        )
        x_BLD = self.mixed(x_BLD, attend)
        if states_BSD is not None:
            memory, cache = encoded_once(past_key_values, number, states_BSD)
            look_up = partial(
                self.cross_attention,
                memory=memory,
                mask=states_mask,
                positions=across,
                cache=cache,
                return_weights=return_weights,
            )
            x_BLD = self.add(x_BLD, self.cross_attention_norm, look_up)
        x_BLD = self.fed_forward(x_BLD)
        return x_BLD if shared is None else (x_BLD, *shared.attended())

    def mixed(self, x_BLD: Tensor, attend: Callable[[Tensor], Any]) -> Tensor:
        """Returns x behind the step of the self-attention; another block type has another one."""
        return self.add(x_BLD, self.attention_norm, attend)

    def fed_forward(self, x_BLD: Tensor) -> Tensor:
        return self.add(x_BLD, self.feed_forward_norm, self.feed_forward)


DECODER_BLOCKS[SEQUENTIAL] = DecoderBlock


class Pooler(nn.Module):
    """The pooled state activation(dense(x_0)) of the first token, (B, D)."""

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__()
        dense: Any = nn.Linear(config.hidden_size, config.hidden_size)
        dense.drawn_once = True  # see `values_when_built`
        self.dense = dense
        self.activation = ACT2FN[config.pooler_act]

    def forward(self, x_BLD: Tensor) -> Tensor:
        return self.activation(self.dense(x_BLD[:, 0]))


class MaskedLMHead(nn.Module):
    """decoder(norm(activation(transform(x)))): a score for every word of the vocabulary, in the width of the
    embeddings. The decoder always has a bias, in which the words' frequencies go.
    """

    def __init__(self, config: LeanformerConfig) -> None:
        super().__init__()
        width = config.embedding_width()
        self.transform = nn.Linear(config.hidden_size, width, bias=config.biases)
        self.activation = ACT2FN[config.hidden_act]
        self.norm = new_norm(config, width)
        self.decoder = nn.Linear(width, config.vocab_size)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.states(x))

    def states(self, x: Tensor) -> Tensor:
        """What the decoder scores."""
        return self.norm(self.activation(self.transform(x)))


def _attention(
    config: LeanformerConfig,
    mechanism: str,
    options: dict[str, Any],
    kind: str = "attention",
    mixing: Mapping[str, Any] = MappingProxyType({}),
) -> TokenMixer:
    dropout = float(config.attention_probs_dropout_prob)
    attention = build_mixer(kind, mixing, mechanism, options, config.shape(), dropout)
    if (output := getattr(attention, "output", None)) is not None:
        _into_the_residual(output, config)
    return attention


def _map(config: LeanformerConfig, inputs: int, outputs: int) -> nn.Module:
    """Returns a linear map of a feed-forward layer."""
    if config.feed_forward_groups == 1:
        return nn.Linear(inputs, outputs, bias=config.biases)
    return GroupedLinear(inputs, outputs, config.feed_forward_groups, config.biases, config.initializer_range)


def _into_the_residual(output: Any, config: LeanformerConfig) -> Any:
    """Marks, for `initial_values`, a map whose values are added to the residual stream."""
    output.initial_scale = 0.0 if config.zero_outputs else 1.0
    return output
