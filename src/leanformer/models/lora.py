"""Which maps LoRA adapts by default: those of a mechanism's projection, but for a key of its own.

So it is query and value in `dot_product`, as in BERT (Hu et al., 2022, table 5), and otherwise the maps that play those
parts: token and value in `symmetric` and `pairwise`, `shared`'s only one, the value of the Synthesizers. Of a mixer
without heads it is its own maps.

PEFT looks the default up by `model_type` in a table of its own, and offers no way to declare it elsewhere. So
`declare` adds our row: now if PEFT is imported, else as soon as it is, since importing it takes seconds that most never
need. The one row names the maps of all projections; a model has those of its own.
"""

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import torch
from torch import nn

from leanformer.at_import import when_imported
from leanformer.attention import build_mixer
from leanformer.attention.projections import PROJECTIONS
from leanformer.models.atoms import atomic_maps
from leanformer.models.config import LeanformerConfig
from leanformer.models.layer_sharing import layer_sharing

TABLES = "peft.utils.constants"
TABLE = "TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING"


def lora_targets(config: LeanformerConfig) -> list[str]:
    """Returns `target_modules` for `peft.LoraConfig`: names of maps in this model's attention, but for those that heads
    share or that are made of atoms, which are no layers of PEFT's kinds. ValueError if that leaves none."""
    around, mixing = config.mixer, config.mixer_options
    slots = [(around, mixing, *each) for each in config.attentions()]
    slots[2:] = [("attention", {}, *each) for each in config.attentions()[2:]]  # cross-attention is no mixer's
    with torch.device("meta"):
        layers: list[Any] = [build_mixer(*slot, config.shape()) for slot in slots]
    shared = config.shared_heads
    targets = _maps(layer.projection if layer.attends else layer for layer in layers)
    if shared is not None:
        targets = [name for name in targets if name not in config.tied_maps(shared["tie"])]
    plan = layer_sharing(config.layer_sharing, config.num_hidden_layers)
    projections = [layer.projection for layer in layers if layer.attends]
    made = [name for each in projections for name in atomic_maps(type(each), plan.atomic)]
    targets = [name for name in targets if name not in made]
    if not targets:
        what = "all maps of the heads are shared, which LoRA cannot adapt"
        what = what if shared is not None else f"mixer {around!r} has no maps for LoRA to adapt"
        raise ValueError(f"{what}: name others, such as up and down")
    return targets


def _maps(projections: Iterable[nn.Module]) -> list[str]:
    maps = (name for each in projections for name, module in each.named_children() if isinstance(module, nn.Linear))
    return sorted(set(maps) - {"key"})


def declare() -> None:
    """Make `LoraConfig()` without `target_modules` work for leanformer models, whichever is imported first."""
    when_imported(TABLES, _add)


def _add(module: ModuleType) -> None:
    """Adds an entry to LoRA's table, and to those of PEFT's other methods that treat BERT as LoRA does."""
    with torch.device("meta"):
        targets = _maps(projection(LeanformerConfig().shape()) for projection in PROJECTIONS.values())
    tables: dict[str, Any] = {name: table for name, table in vars(module).items() if name.endswith("_MAPPING")}
    bert = tables.get(TABLE, {}).get("bert")
    for table in tables.values():
        if bert and isinstance(table, dict) and table.get("bert") == bert:
            table.setdefault(LeanformerConfig.model_type, targets)
