"""Hugging Face's key/value caches, as our attention layers use them.

Kept are the heads as they are projected, before any rotation: a layer rotates all keys anew. A mechanism without keys,
or with keys that are the values, keeps one tensor, in the place of the keys, by which a cache knows its length. A
static cache gives back all its room, of which layers attend to the part that is filled.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, EncoderDecoderCache

from leanformer.attention import Heads

Remember = Callable[[Heads], Heads]


def remembered(past: Cache | None, layer: int, total: int) -> Remember | None:
    """The `cache` of a layer of self-attention: the heads of new tokens -> those of all `total` tokens so far."""
    if past is None:
        return None
    own = past.self_attention_cache if isinstance(past, EncoderDecoderCache) else past

    def extend(new: Heads) -> Heads:
        return _extended(own, layer, new, total)

    return extend


def encoded_once(past: Cache | None, layer: int, states_BSD: Tensor) -> tuple[Tensor, Remember | None]:
    """Returns `memory` and `cache` of a layer of cross-attention, which projects the encoder's states the first time
    only."""
    if not isinstance(past, EncoderDecoderCache):
        return states_BSD, None
    total = states_BSD.shape[1]
    if not past.is_updated.get(layer, False):

        def store(heads: Heads) -> Heads:
            past.is_updated[layer] = True
            return _extended(past.cross_attention_cache, layer, heads, total)

        return states_BSD, store

    def recall(heads: Heads) -> Heads:
        kept: Any = past.cross_attention_cache.layers[layer]
        key = kept.keys[:, :, :total]
        value = key if heads.key is heads.value else kept.values[:, :, :total]
        return heads._replace(value=value, key=key)

    return states_BSD[:, :0], recall


def _extended(cache: Cache, layer: int, new: Heads, total: int) -> Heads:
    if new.key is None or new.key is new.value:
        value = cache.update(new.value, new.value[..., :0], layer)[0][:, :, :total]
        return new._replace(value=value, key=None if new.key is None else value)
    key, value = cache.update(new.key, new.value, layer)
    return new._replace(value=value[:, :, :total], key=key[:, :, :total])
