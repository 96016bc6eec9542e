"""Mechanisms by name, as `attention=` gives them, and the plug-in that defines them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leanformer.attention import load_plugin, mechanism, plugins_of
from leanformer.comparison.variants import Variant, parse_variants, sized_variants


def arms(attention: str | Sequence[str], plugin: str | Path | None) -> tuple[list[Variant], Path | None]:
    """Returns the mechanisms with their options, and the plug-in that other processes need for them.

    `attention` is one string, as on the command line, or a list of such strings. A plug-in that is loaded already need
    not be named again.
    """
    load_plugin(plugin)
    if not isinstance(attention, str) and not all(isinstance(each, str) for each in attention):
        raise ValueError(f"attention = {attention!r}: give names, such as ['dot_product', 'pairwise']")
    variants = parse_variants(attention if isinstance(attention, str) else ",".join(attention))
    return variants, plugin_of([variant.mechanism for variant in variants], plugin)


def arm(attention: str | None, plugin: str | Path | None) -> tuple[dict[str, Any], str | Path | None]:
    """Returns one mechanism as tables of settings, which are empty for None, and the plug-in that defines it."""
    if attention is None:
        return {}, plugin
    load_plugin(plugin)
    if not isinstance(attention, str) or len(variants := sized_variants(attention)) != 1:
        raise ValueError(f"attention = {attention!r}: name one mechanism, or compare several with leanformer.compare")
    (variant,) = variants
    model = {"attention": variant.mechanism, **variant.model}
    model |= {"attention_options": variant.options} if variant.options else {}
    defined_by = plugins_of(variant.mechanism)
    return {"model": model, "training": variant.training}, plugin or (defined_by[0] if defined_by else None)


def plugin_of(names: Sequence[str], plugin: str | Path | None) -> Path | None:
    """Returns the given plug-in, else the loaded one that defines these mechanisms; raises ValueError for two."""
    if plugin is not None:
        return Path(plugin)
    for name in dict.fromkeys("+".join(names).split("+")):
        if mechanism(name).compatibility.__module__ == "__main__":
            raise ValueError(
                f"{name} is registered in this session, where other processes do not find it: write it to a file, and "
                "give plugin=FILE"
            )
    found = sorted({file for name in names for file in plugins_of(name)})
    if len(found) > 1:
        raise ValueError(f"{' and '.join(map(str, found))} define these mechanisms: write them in one file")
    return found[0] if found else None
