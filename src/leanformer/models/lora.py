"""Which maps LoRA should adapt: those of a mechanism's projection, but for a key of its own.

So it is query and value in `dot_product`, as in BERT (Hu et al., 2022, table 5), and otherwise the maps that play those
parts: token and value in `symmetric` and `pairwise`, `shared`'s only one, the value of the Synthesizers.

PEFT is told by name: `LoraConfig(target_modules=lora_targets(model.config))`. A table of its own has defaults by
`model_type`, and cannot know the maps of a mechanism, much less those of a plug-in.
"""

import torch
from torch import nn

from leanformer.attention import mechanism
from leanformer.models.config import LeanformerConfig
from leanformer.models.head_bank import tied_maps


def lora_targets(config: LeanformerConfig) -> list[str]:
    """`target_modules` for `peft.LoraConfig`: names of maps in this model's attention, but for those that heads share,
    which are no layers of PEFT's kinds. ValueError if that leaves none."""
    with torch.device("meta"):
        projections = [mechanism(name).build(config.shape(), **options)[0] for name, options in config.attentions()]
    maps = {name for each in projections for name, module in each.named_children() if isinstance(module, nn.Linear)}
    shared = config.shared_heads
    tied = set() if shared is None else set(tied_maps(config.projection(), shared["tie"]))
    targets = sorted(maps - tied - {"key"})
    if not targets:
        raise ValueError("all maps of the heads are shared, which LoRA cannot adapt: name others, such as up and down")
    return targets
