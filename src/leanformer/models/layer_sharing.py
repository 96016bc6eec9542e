"""Which layers of a stack share what, by `config.layer_sharing`. L layers are computed, whatever is stored.

    value           what is stored                                              layer l = 0 ... L - 1 uses
    none            everything of every layer                                   its own
    all             one block (Lan et al., 2020, "ALBERT")                      block 0
    blocks:N        N blocks, each of them for consecutive layers               block floor(l N / L)
    cycle:N         N blocks, in turn: a stack of N layers, repeated            block l mod N
    attention       one attention (ALBERT, table 4); norms are each layer's     the first layer's attention
    feed_forward    one feed-forward layer (ALBERT, table 4)                    the first layer's feed-forward layer
    kv:N            keys and values of every N-th layer (Brandon et al., 2024,  the keys and values that layer
                    "Reducing Transformer Key-Value Cache Size with             N floor(l / N) made
                    Cross-Layer Attention")
    kv:half         one key-value for the upper half (Sun et al., 2024, "You    its own below layer floor(L / 2),
                    Only Cache Once"; here the lower half attends to all)       and from it on that layer's
    atoms:N         N matrices each for the maps of queries, keys and values    its own combination of them (`atoms`)
    atoms_qkvo:N    the same, and of outputs                                    likewise

Weights are shared by all but `kv:N` and `kv:half`, which share activations: a layer that makes no keys and values keeps
its query map and its output map, and compares its queries with the keys of an earlier layer. So `kv` alone saves
operations, and a decoder caches the keys and values of the layers that make them. A gradient of what is shared is the
sum over the layers.

What is shared is one module: it is registered, initialised, saved, counted and adapted once, where its first layer is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn

from leanformer.attention import Heads, MultiHeadAttention, Projection, QueryOnly, mechanism
from leanformer.models.atoms import atomic_maps, combine, combined
from leanformer.models.block_types import SEQUENTIAL
from leanformer.spelling import suggest

NONE = "none"
WHOLE = (NONE, "all", "attention", "feed_forward")
HALF = "kv:half"
ATOMS = {"atoms": ("query", "key", "value"), "atoms_qkvo": ("query", "key", "value", "output")}
NUMBERED = ("blocks", "cycle", "kv", *ATOMS)
PARTS = {"attention": ("attention", "cross_attention"), "feed_forward": ("feed_forward",)}
"""The modules of a layer that are one for all layers."""


@dataclass(frozen=True)
class LayerSharing:
    """The plan of a stack: the number of the block that each layer is, the parts that all blocks take from the first,
    the layer whose keys and values each attends to (none: its own), and how many atoms which maps are made of."""

    blocks: tuple[int, ...]
    lent: tuple[str, ...] = ()
    makers: tuple[int, ...] = ()
    atoms: int = 0
    atomic: tuple[str, ...] = ()

    @property
    def stored(self) -> int:
        """Returns the number of blocks."""
        return 1 + max(self.blocks)

    def stored_parts(self, part: str) -> int:
        """Returns the number of modules of this name: "attention", "feed_forward"."""
        return 1 if part in self.lent else self.stored

    @property
    def readers(self) -> int:
        """Returns the number of layers that read the keys and values of another."""
        return sum(map(self.reads, range(len(self.blocks))))

    def reads(self, layer: int) -> bool:
        return bool(self.makers) and self.makers[layer] != layer


def layer_sharing(value: str, layers: int) -> LayerSharing:
    """Returns the plan that `value` means for so many layers; ValueError for a value that means none."""
    own = tuple(range(layers))
    if value in WHOLE:
        return LayerSharing((0,) * layers) if value == "all" else LayerSharing(own, PARTS.get(value, ()))
    if value == HALF:
        return LayerSharing(own, makers=tuple(min(layer, layers // 2) for layer in own))
    name, colon, digits = value.partition(":")
    if name not in NUMBERED or not colon:
        raise ValueError(
            f"layer_sharing = {value!r}; {suggest(value, [*WHOLE, HALF, *(f'{each}:N' for each in NUMBERED)])}"
        )
    number = int(digits) if digits.isascii() and digits.isdigit() else 0
    if not 1 <= number <= layers:
        raise ValueError(f"layer_sharing = {value!r}: N is a whole number from 1 to the number of layers, {layers}")
    if name == "kv":
        return LayerSharing(own, makers=tuple(layer - layer % number for layer in own))
    if name in ATOMS:
        return LayerSharing(own, atoms=number, atomic=ATOMS[name])
    return LayerSharing(tuple(layer * number // layers if name == "blocks" else layer % number for layer in own))


def share(layers: nn.ModuleList, sharing: LayerSharing, std: float) -> nn.ModuleList:
    """Returns the distinct blocks, which have what the plan lets them share; matrices start with this deviation."""
    if sharing.atoms:
        combine(layers, sharing.atoms, sharing.atomic, std)
    for number, layer in enumerate(layers):
        for part in sharing.lent if number else ():
            if part in layer._modules:
                delattr(layer, part)
                vars(layer)[part] = getattr(layers[0], part)  # not registered: state and parameters hold it once
        if sharing.reads(number):
            attention = cast(MultiHeadAttention, layer.attention)
            maker = cast(MultiHeadAttention, layers[sharing.makers[number]].attention)
            attention.projection = QueryOnly.of(attention.projection, maker.projection)
    return layers


def modules_of(layer: nn.Module) -> Iterator[nn.Module]:
    """Yields what a layer consists of, what it shares with others included."""
    yield from layer.modules()
    for lent in vars(layer).values():
        if isinstance(lent, nn.Module):
            yield from lent.modules()


def check_layer_sharing(config: Any) -> None:
    """Raises ValueError unless the layers of a `LeanformerConfig` can share what its `layer_sharing` says."""
    value = config.layer_sharing
    plans = [layer_sharing(value, layers) for layers in (config.num_hidden_layers, config.decoder_depth())]
    if value == NONE:
        return
    _require(
        config, "shared_heads", config.shared_heads is None, f"leave it out of a model of layer_sharing = {value!r}"
    )
    one = any(plan.stored < len(plan.blocks) for plan in plans)
    rule = f"the first layer is unlike the others, and layer_sharing = {value!r} makes them one: choose another"
    _require(config, "first_norm", config.first_norm or not one, rule)
    if not any(plan.lent or plan.readers or plan.atoms for plan in plans):
        return
    rule = f"has parts that layer_sharing = {value!r} does not know: choose 'all', 'blocks:N' or 'cycle:N'"
    _require(config, "block", config.block == SEQUENTIAL, rule)
    if any(plan.lent for plan in plans):
        return
    does = "maps that could be made of atoms" if plans[0].atoms else "keys and values that could be handed on"
    rule = f"layer_sharing = {value!r} is for layers of attention alone, which have {does}: choose another"
    _require(config, "mixer", config.mixer == "attention", rule)
    for key in ("attention", "decoder_attention"):
        if (name := getattr(config, key)) is not None:
            inside, options = mechanism(name), getattr(config, f"{key}_options")
            made = inside.projection_class(options)
            if not plans[0].atoms:
                _require_readers(value, made, inside.compares, name)
            elif not atomic_maps(made, ATOMS["atoms"]):
                raise ValueError(
                    f"layer_sharing = {value!r}: the maps of {name} are of another kind than matrices of the input, "
                    "and no atoms make them: choose another layer_sharing"
                )


def _require(config: Any, key: str, holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(f"{key} = {getattr(config, key)!r}: {rule}")


def _require_readers(value: str, projection: type[Projection], compares: bool, name: str) -> None:
    """Raises ValueError unless a layer of this mechanism can compare its queries with the keys of another."""
    if not compares or not QueryOnly.suits(projection):
        raise ValueError(
            f"layer_sharing = {value!r} lets layers keep their query alone, and {name} has no query map apart from its "
            "key and value: share its attention (layer_sharing = 'attention'), or give it projection = 'separate'"
        )


class KeysAndValues:
    """The `cache` of attention that hands keys and values on: those of an earlier layer where they are given, else the
    layer's own, behind those that a decoder remembers."""

    def __init__(self, key: Tensor | None, value: Tensor | None, cache: Callable[[Heads], Heads] | None = None) -> None:
        self.key, self.value, self.cache = key, value, cache

    def __call__(self, new: Heads) -> Heads:
        if self.value is not None:
            return new._replace(value=self.value, key=self.key)
        heads = new if self.cache is None else self.cache(new)
        self.key, self.value = heads.key, heads.value
        return heads

    def attended(self) -> tuple[Tensor, Tensor]:
        """Returns key and value, once attention has called this."""
        assert self.key is not None and self.value is not None
        return self.key, self.value


def unshared(tensors: Mapping[str, Tensor], sharing: LayerSharing, prefix: str) -> dict[str, Tensor]:
    """Returns the tensors of a stack, whose names start with `prefix`, under the names of one that shares no weights:
    its outputs are equal. Tensors of other names stay as they are."""
    found: dict[str, Tensor] = {}
    tensors = combined(dict(tensors), prefix) if sharing.atoms else tensors
    for key, tensor in tensors.items():
        if not key.startswith(prefix):
            found[key] = tensor
            continue
        number, _, name = key.removeprefix(prefix).partition(".")
        lent = name.partition(".")[0] in sharing.lent
        layers: Iterable[int] = (
            range(len(sharing.blocks))
            if lent
            else (layer for layer, block in enumerate(sharing.blocks) if block == int(number))
        )
        found |= {f"{prefix}{layer}.{name}": tensor for layer in layers}
    return found
