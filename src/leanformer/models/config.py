"""LeanformerConfig: BERT's names and defaults, and the attention slot."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import field, fields
from typing import Any, Self

from huggingface_hub.dataclasses import strict
from huggingface_hub.errors import StrictDataclassError
from transformers.activations import ACT2FN
from transformers.configuration_utils import PreTrainedConfig

from leanformer.attention import Projection, Rotary, Shape, check_mixer, mechanism, mixer, names
from leanformer.attention.rotary_check import require_positions
from leanformer.models.block_types import SEQUENTIAL, check_block_type
from leanformer.models.head_bank import check_blocks, tied_maps
from leanformer.models.layer_sharing import NONE, check_layer_sharing
from leanformer.models.local_attention import check_window
from leanformer.records.renamed import ALIASES, new_value
from leanformer.spelling import suggest

POSITIONS = ("learned", "rotary")
NORMS = ("post", "pre")
FEED_FORWARDS = ("plain", "gated")


@strict
class LeanformerConfig(PreTrainedConfig):
    """Sizes of the model, and its `attention`: the name of a mechanism, with `attention_options` for its constructor.

    `head_size` is hidden_size / num_attention_heads if None. With an `embedding_size` unlike hidden_size the embeddings
    are that wide, a linear map takes them to the trunk, and the masked-LM head scores words in that width (Lan et al.,
    2020, "ALBERT"; ELECTRA); an encoder's only. A decoder takes the same attention, an encoder-decoder
    `decoder_attention` for its decoder's self-attention (None: the same again) and `cross_attention` between the two;
    `num_decoder_layers` is num_hidden_layers if None. Training smooths the labels of both by `label_smoothing`.

    `positions` are "learned", a table added to the embeddings as in BERT, or "rotary", which rotate queries and keys
    with `rotary_base`; either way a sequence has at most `max_position_embeddings`. `norm` is "post", behind every
    residual step as in BERT, or "pre", before it and once behind the last; without `first_norm` the first attention
    reads the embeddings, which have a norm of their own, as they are. With a `sliding_window` all but every
    `global_attn_every_n_layers`-th layer of an encoder attend within it alone (`local_attention`).

    Without `biases` no linear map and no norm of the trunk has one, and of the masked-LM head only the scores, for the
    words' frequencies; poolers and classifiers keep theirs. `pooler_act` is BERT's tanh, or what a checkpoint of
    another family has between pooler and classifier. `feed_forward` is "plain", up and down, or "gated", a gate beside
    up: each of `intermediate_size`, of which two thirds are the same parameters as plain. `qk_norm` norms every head's
    query and key, where a mechanism makes them. With `zero_outputs` every residual step starts as the identity: the
    output maps of attention and feed-forward layer are zero at first. In mixed precision the residual stream is float32
    as autocast leaves it, or with `residual_in_fp32` false in the type of the matrix products.

    `block` is the type of an encoder's layers, one of `block_types`. `mixer` is what they mix tokens with, "attention"
    or one of `attention.mixers`, with `mixer_options` for it; the mechanism in its slots, if it has heads, is
    `attention` all the same. A decoder has those mixers that keep to any mask, in its self-attention.
    Maps of a feed-forward layer are in `feed_forward_groups` groups that do not see each other.

    `shared_heads` says which heads of an encoder share blocks of their maps (`head_bank`); a conversion writes it.
    `layer_sharing` says what the layers share, by `layer_sharing.py`; an encoder-decoder's two stacks do so each.

    A wrong value is a ValueError that names the key. A key nobody knows is kept, as Hugging Face does; `from_settings`
    refuses it.
    """

    model_type = "leanformer"

    vocab_size: int = 30522
    hidden_size: int = 768
    embedding_size: int | None = None
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float | int = 0.1
    attention_probs_dropout_prob: float | int = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float | int = 0.02
    layer_norm_eps: float | int = 1e-12
    classifier_dropout: float | int | None = None
    pooler_act: str = "tanh"
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    tie_word_embeddings: bool = True
    attention: str = "dot_product"
    attention_options: dict[str, Any] = field(default_factory=dict)
    head_size: int | None = None
    block: str = SEQUENTIAL
    mixer: str = "attention"
    mixer_options: dict[str, Any] = field(default_factory=dict)
    is_encoder_decoder: bool = False
    num_decoder_layers: int | None = None
    decoder_attention: str | None = None
    decoder_attention_options: dict[str, Any] = field(default_factory=dict)
    cross_attention: str = "dot_product"
    cross_attention_options: dict[str, Any] = field(default_factory=dict)
    decoder_start_token_id: int | None = None
    label_smoothing: float | int = 0.0
    positions: str = "learned"
    rotary_base: float | int = 10_000.0
    sliding_window: int | None = None
    global_attn_every_n_layers: int = 3
    local_rotary_base: float | int | None = None
    norm: str = "post"
    first_norm: bool = True
    biases: bool = True
    feed_forward: str = "plain"
    feed_forward_groups: int = 1
    qk_norm: bool = False
    zero_outputs: bool = False
    residual_in_fp32: bool = True
    shared_heads: dict[str, Any] | None = None
    layer_sharing: str = NONE

    def __post_init__(self, **kwargs: Any) -> None:
        kwargs = self._without_aliases(kwargs)
        for key in ("vocab_size", "num_hidden_layers", "intermediate_size", "rotary_base"):
            self._require(key, getattr(self, key) > 0, "must be positive")
        for key in ("head_size", "num_decoder_layers", "embedding_size", "sliding_window", "local_rotary_base"):
            self._require(key, getattr(self, key) is None or getattr(self, key) > 0, "must be positive")
        self._require("type_vocab_size", self.type_vocab_size >= 0, "must not be negative")
        for key in ("hidden_size", "num_attention_heads", "max_position_embeddings", "global_attn_every_n_layers"):
            self._require(key, getattr(self, key) > 0, "must be positive")
        for key in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "label_smoothing"):
            value = getattr(self, key)
            self._require(key, value is None or 0 <= value < 1, "is a probability: at least 0 and less than 1")
        for key in ("initializer_range", "layer_norm_eps"):
            self._require(key, getattr(self, key) >= 0, "must not be negative")
        heads, width = self.num_attention_heads, self.hidden_size
        nearest = max(1, round(width / heads)) * heads
        self._require(
            "hidden_size",
            self.head_size is not None or width % heads == 0,
            f"is not divisible by num_attention_heads = {heads}, but {nearest} is; or give head_size",
        )
        for key in ("hidden_act", "pooler_act"):
            self._require(key, getattr(self, key) in ACT2FN, suggest(getattr(self, key), ACT2FN))
        self._require("positions", self.positions in POSITIONS, suggest(self.positions, POSITIONS))
        self._require("norm", self.norm in NORMS, suggest(self.norm, NORMS))
        check_block_type(self)
        check_window(self)
        has_first = self.norm == "pre" and self.block == SEQUENTIAL
        rule = f'needs model.norm = "pre" and model.block = "{SEQUENTIAL}"'
        self._require("first_norm", self.first_norm or has_first, rule)
        self._require("feed_forward", self.feed_forward in FEED_FORWARDS, suggest(self.feed_forward, FEED_FORWARDS))
        groups = self.feed_forward_groups
        self._require("feed_forward_groups", groups > 0, "must be positive")
        for key in ("hidden_size", "intermediate_size"):
            size = getattr(self, key)
            rule = f"does not divide {key} = {size}, but must, so that groups are equal"
            self._require("feed_forward_groups", size % groups == 0, rule)
        padding = self.pad_token_id
        self._require(
            "pad_token_id",
            padding is None or 0 <= padding < self.vocab_size,
            f"must be less than vocab_size = {self.vocab_size}",
        )
        mechanism(self.attention).check_options(self.attention_options, self.shape())
        check_mixer(self.mixer, self.mixer_options, self.attention, self.attention_options, self.shape())
        places = self.positions == "learned" or mixer(self.mixer).keeps_places
        rule = 'has no keys with a place of their own for rotary positions: needs model.positions = "learned"'
        self._require("mixer", places, rule)
        output = mixer(self.mixer).count_output_params(self.shape(), **self.mixer_options)
        rule = f"mixer {self.mixer!r} has no output map that could start at zero: leave it out"
        self._require("zero_outputs", not self.zero_outputs or output > 0, rule)
        if self.decoder_attention is not None:
            mechanism(self.decoder_attention).check_options(self.decoder_attention_options, self.shape())
            options = self.decoder_attention_options
            check_mixer(self.mixer, self.mixer_options, self.decoder_attention, options, self.shape())
        elif self.decoder_attention_options:
            raise ValueError("decoder_attention_options without decoder_attention: name the mechanism they belong to")
        mechanism(self.cross_attention).check_options(self.cross_attention_options, self.shape())
        if not mechanism(self.cross_attention).cross:
            able = ", ".join(name for name in names() if mechanism(name).cross)
            raise ValueError(
                f"cross_attention = {self.cross_attention!r} ties positions of one sequence and cannot attend to "
                f"another; these can: {able}"
            )
        if self.shared_heads is not None:
            self._require("mixer", self.mixer == "attention", "heads of attention alone can be shared: no shared_heads")
            check_blocks(self.shared_heads, self.num_hidden_layers, self.num_attention_heads)
            self.tied_maps(self.shared_heads["tie"])
        check_layer_sharing(self)
        rotary = self.rotary()
        for key, shape in (("attention", self.attention_shape()), ("decoder_attention", self.shape())):
            if (name := getattr(self, key)) is None:
                continue
            needs = mechanism(name).rotary
            self._require(key, not needs or self.positions == "rotary", 'needs model.positions = "rotary"')
            if rotary is not None:
                require_positions(mechanism(name), shape, getattr(self, f"{key}_options"), rotary)
        super().__post_init__(**kwargs)

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """The config of settings a person wrote: a misspelt key or a value of the wrong type is a ValueError too."""
        known = {f.name for f in fields(cls)} | {"num_labels"}
        for key in settings:
            if key not in known:
                raise ValueError(f"unknown setting model.{key}; {suggest(key, sorted(known))}")
        try:
            return cls(**settings)
        except StrictDataclassError as error:
            raise ValueError(f"model: {error.__cause__ or error}") from None

    def num_classes(self) -> int:
        """Returns the number of outputs of a classification head; 1 is a regression."""
        return self.num_labels or 0

    def embedding_width(self) -> int:
        """Returns the width of the tables of words, positions and token types."""
        return self.embedding_size or self.hidden_size

    def shape(self) -> Shape:
        heads, longest = self.num_attention_heads, self.max_position_embeddings
        return Shape(self.hidden_size, heads, longest, self.biases, self.head_size or 0, self.qk_norm)

    def attention_shape(self) -> Shape:
        """Returns the shape of the heads that attend in the encoder; a mixer may leave a part to others."""
        return mixer(self.mixer).attention_shape(self.shape(), **self.mixer_options)

    def projection(self) -> type[Projection]:
        """Returns the encoder's projection, the mechanism's own or the option's."""
        return mechanism(self.attention).projection_class(self.attention_options)

    def tied_maps(self, tie: str) -> list[str]:
        """Returns the names of the maps that the encoder's heads may share; ValueError if there are none."""
        groups = mechanism(self.attention).kv_heads(self.shape(), **self.attention_options)
        if groups < self.num_attention_heads:
            raise ValueError(f"heads of {self.attention} with {groups} of keys share keys and values already")
        return tied_maps(self.projection(), tie)

    def attentions(self) -> list[tuple[str, dict[str, Any]]]:
        """Returns name and options of every mechanism that a model of this config has."""
        used = [(self.attention, self.attention_options)]
        if self.is_encoder_decoder:
            used += [self.decoder_self_attention(), (self.cross_attention, self.cross_attention_options)]
        return used

    def parameter_groups(self) -> list[str]:
        """Returns the names of the groups of parameters with a learning-rate multiplier of their own."""
        groups = [group for name, options in self.attentions() for group in mechanism(name).group_names(options)]
        return list(dict.fromkeys([*groups, *mixer(self.mixer).parameter_groups]))

    def decoder_self_attention(self) -> tuple[str, dict[str, Any]]:
        """Returns name and options of the mechanism in a decoder's self-attention."""
        if self.decoder_attention is None:
            return self.attention, self.attention_options
        return self.decoder_attention, self.decoder_attention_options

    def decoder_depth(self) -> int:
        return self.num_decoder_layers or self.num_hidden_layers

    def get_text_config(self, decoder: bool | None = None, encoder: bool | None = None) -> Self:
        """Returns this config, as deep as the decoder if only that is meant: Hugging Face makes a cache's layers by it.

        Its own rule takes every key that starts with decoder_ for one of another config, without that start.
        """
        if not decoder or encoder or self.decoder_depth() == self.num_hidden_layers:
            return self
        half = deepcopy(self)
        half.num_hidden_layers = self.decoder_depth()
        return half

    def rotary(self, local: bool = False) -> Rotary | None:
        """Returns the rotation of all layers, or with `local` of those within the sliding window."""
        if self.positions != "rotary":
            return None
        size = self.attention_shape().head_size
        if size % 2:
            raise ValueError(
                f'positions = "rotary" needs an even head size, not {size}: '
                f"choose another hidden_size ({self.hidden_size}), num_attention_heads ({self.num_attention_heads}) or "
                "head_size"
            )
        return Rotary(size, self.local_rotary_base if local and self.local_rotary_base else self.rotary_base)

    def _without_aliases(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Sets what is given under transformers' name for a field of ours; returns the rest."""
        rest = dict(given)
        defaults = {f.name: f.default for f in fields(self)}
        for alias, (table, key) in ((old, new.name.split(".")) for old, new in ALIASES.items()):
            name = alias.removeprefix(f"{table}.")
            if table != "model" or name not in rest:
                continue
            value = new_value(alias, rest.pop(name))
            if getattr(self, key) not in (value, defaults[key]):
                raise ValueError(f"{name} is another name of {key} = {getattr(self, key)!r}: leave out {name}")
            setattr(self, key, value)
        return rest

    def _require(self, key: str, holds: bool, rule: str) -> None:
        if not holds:
            raise ValueError(f"{key} = {getattr(self, key)!r}: {rule}")
