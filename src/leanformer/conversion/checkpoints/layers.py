"""A model with some of its layers: the others are left out, and the rest stays as it is.

The student that keeps every second layer is the usual start of a smaller one (Sanh et al., 2019, "DistilBERT").
"""

import re
from collections.abc import Sequence

from leanformer.conversion.checkpoints.placing import Checkpoint
from leanformer.models.layer_sharing import NONE

LAYER = re.compile(r"(?:^|(?<=\.))layers\.(\d+)\.")


def keep_layers(found: Checkpoint, layers: Sequence[int]) -> Checkpoint:
    """Returns the checkpoint with these layers, counted from 1, in their order.

    Raises ValueError for layers that the model does not have, and for a model whose layers cannot be told apart.
    """
    config, depth = found.config, found.config.num_hidden_layers
    listed = ",".join(map(str, layers))
    if any(name in (config.architectures or [""])[0] for name in ("Decoder", "CausalLM", "ConditionalGeneration")):
        raise ValueError("--keep-layers is for encoders, and the model has a decoder: leave it out")
    if config.shared_heads is not None:
        raise ValueError("--keep-layers: heads of this model share maps across layers; leave it out")
    if config.layer_sharing != NONE:
        raise ValueError("--keep-layers: layers of this model share; convert it with --share-layers none first")
    if config.sliding_window is not None or not config.first_norm:
        raise ValueError(
            "--keep-layers: the layers of this model differ by their number, as ModernBERT's do; leave it out"
        )
    if not layers or sorted(set(layers)) != list(layers) or not 1 <= layers[0] <= layers[-1] <= depth:
        raise ValueError(f"--keep-layers {listed}: name some of the layers 1 to {depth}, in their order and each once")
    place = {number - 1: new for new, number in enumerate(layers)}
    tensors = {}
    for key, tensor in found.tensors.items():
        match = LAYER.search(key)
        if match is None:
            tensors[key] = tensor
        elif (old := int(match[1])) in place:
            tensors[f"{key[: match.start()]}layers.{place[old]}.{key[match.end() :]}"] = tensor
    config.num_hidden_layers = len(layers)
    notes = [*found.notes, f"layers kept: {listed} of {depth}"]
    return found._replace(tensors=tensors, notes=notes)
