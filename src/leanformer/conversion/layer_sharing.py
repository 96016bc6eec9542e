"""A trained encoder with layers that share (`models/layer_sharing.py`), started from its own layers.

    all, blocks:N, cycle:N       block n starts as the mean of the layers that it replaces, or as the first of them
    attention, feed_forward      the one that all layers use starts as the mean of all, or as the first layer's
    kv:N, kv:half                what is left stays as it is: a layer's query meets the keys of an earlier layer
    atoms:N                      the N atoms and their combinations that are nearest to the maps of all layers
    none                         layers that shared weights get a copy each: outputs are equal

Neither start is close to the source: training recovers the rest. Frozen tables are the first layer's.
"""

from typing import Any

import torch
from torch import Tensor

from leanformer.models import LeanformerModel
from leanformer.models.atoms import nearest
from leanformer.models.config import LeanformerConfig
from leanformer.models.initialisation import initialise
from leanformer.models.layer_sharing import NONE, LayerSharing, layer_sharing, unshared
from leanformer.spelling import suggest

STARTS = ("mean", "first")


@torch.no_grad()
def share_layers(model: Any, sharing: str, start: str = "mean") -> Any:
    """Returns a copy of the encoder with this `model.layer_sharing`.

    ValueError for a decoder, for an unknown start, and for a model that shares already, unless `sharing` is "none".
    """
    if start not in STARTS:
        raise ValueError(f"share_start = {start!r}; {suggest(start, STARTS)}")
    if not isinstance(model.base_model, LeanformerModel) or model.config.is_encoder_decoder:
        raise ValueError(f"{type(model).__name__} has a decoder: only an encoder's layers can be shared")
    own = model.base_model.sharing
    if model.config.layer_sharing != NONE and sharing != NONE:
        raise ValueError(
            f"the model's layers share already ({model.config.layer_sharing!r}): share those of the model it was made "
            f"of, or convert it with layer_sharing = {NONE!r} first"
        )
    if own.readers and sharing == NONE:
        raise ValueError(
            f"layer_sharing = {model.config.layer_sharing!r}: layers without keys and values cannot be given any; "
            "convert the model it was made of"
        )
    config = LeanformerConfig.from_dict(model.config.to_dict() | {"layer_sharing": sharing})
    pooling = {"add_pooling_layer": model.pooler is not None} if model.base_model is model else {}
    shared = type(model)(config, **pooling)
    initialise(shared, seed=0)
    prefix = "layers." if model.base_model is model else f"{model.base_model_prefix}.layers."
    tensors = unshared(model.state_dict(), own, prefix)
    learned = {name for name, _ in shared.named_parameters()}
    plan = layer_sharing(sharing, config.num_hidden_layers)
    if plan.atoms:
        tensors |= _atoms(tensors, shared, plan, prefix)
    state = {
        key: _started(key, value, tensors, plan, prefix, start if key in learned else "first")
        for key, value in shared.state_dict().items()
    }
    shared.load_state_dict(state)
    return shared.to(next(model.parameters()).dtype).train(model.training)


def _atoms(tensors: dict[str, Tensor], shared: Any, plan: LayerSharing, prefix: str) -> dict[str, Tensor]:
    """Returns atoms and coefficients of every map, by their names in the model that shares."""
    found = {}
    for key in [key for key in shared.state_dict() if key.startswith(prefix) and key.endswith(".atoms.weight")]:
        name = key.removeprefix(f"{prefix}0.").removesuffix(".atoms.weight")
        matrices = torch.stack([tensors[f"{prefix}{layer}.{name}.weight"] for layer in range(len(plan.blocks))])
        coefficients, found[key] = nearest(matrices, plan.atoms)
        found |= {f"{prefix}{layer}.{name}.coefficients": row for layer, row in enumerate(coefficients)}
    return found


def _started(
    key: str, value: Tensor, tensors: dict[str, Tensor], plan: LayerSharing, prefix: str, start: str
) -> Tensor:
    """Returns what the tensor `key` of the model that shares starts from, given those of one that does not."""
    if not key.startswith(prefix):
        return tensors.get(key, value)
    number, _, name = key.removeprefix(prefix).partition(".")
    lent = name.partition(".")[0] in plan.lent
    sources = [layer for layer, block in enumerate(plan.blocks) if lent or block == int(number)]
    found = [tensors[f"{prefix}{layer}.{name}"] for layer in (sources if start == "mean" else sources[:1])]
    return torch.stack(found).mean(0)
