"""Names of arms in a report: the aliases that a comparison was started with, and those that a report alone gives.

An alias is a name for what stands in `--attention`, small = dot_product[model.hidden_size=64]. comparison.json and
plan.json hold the aliases that their runs have. A report may give further ones; records on disk keep their names.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from leanformer.spelling import suggest

LISTS = ("attention", "main")


def read_aliases(texts: Iterable[str]) -> dict[str, str]:
    """["small=dot_product[model.hidden_size=64]"] -> {"dot_product[model.hidden_size=64]": "small"}."""
    names: dict[str, str] = {}
    for text in texts:
        alias, _, arm = (part.strip() for part in text.partition("="))
        if not alias or not arm:
            raise ValueError(f"--alias {text}: write ALIAS=ARM")
        if arm in names or alias in names.values():
            raise ValueError(f"--alias {text}: {arm if arm in names else alias} stands in another alias already")
        names[arm] = alias
    return names


def check_aliases(names: Mapping[str, str], arms: Iterable[str]) -> None:
    """ValueError for an alias of no arm, or one that another arm has as its name."""
    arms, given = list(arms), list(names.values())
    for arm, alias in names.items():
        if given.count(alias) > 1:
            raise ValueError(f"--alias {alias}={arm}: {alias} stands in another alias already")
        if arm not in arms:
            raise ValueError(f"--alias {alias}={arm}: no such arm; {suggest(arm, arms)}")
        if alias in arms and alias not in names:
            raise ValueError(f"--alias {alias}={arm}: another arm has this name; give another alias")


def renamed(record: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Returns comparison.json or plan.json with these arms renamed, and their definitions among its aliases."""
    new = dict(record)

    def name(label: Any) -> Any:
        return names.get(label, label)

    for key in LISTS:
        if isinstance(new.get(key), list):
            new[key] = [name(label) for label in new[key]]
    if "baseline" in new:
        new["baseline"] = name(new["baseline"])
    if new.get("controls"):
        new["controls"] = {name(label): said for label, said in new["controls"].items()}
    if "runs" in new:
        new["runs"] = [run | {"attention": name(run["attention"])} for run in new["runs"]]
    if "amendments" in new:
        new["amendments"] = [renamed(entry, names) for entry in new["amendments"]]
    known = new.get("aliases") or {}
    new["aliases"] = {name(label): of for label, of in known.items()}
    new["aliases"] |= {alias: known.get(label, label) for label, alias in names.items()}
    return new
