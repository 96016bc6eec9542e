"""How often the nearest names mean what a mention means.

    accuracy@k    the share of mentions that are right by the k nearest names to each of their parts, whatever concept
                  these are of: k names may be five of one concept

With I_p the ids of the concepts of part p's k names, and G those of the mention,

    any     every I_p meets G                                        BioSyn's (Sung et al., 2020) and hence the usual
    each    every I_p meets G, and every id of G is in some I_p

A name of several concepts counts as several names. `unlisted` are the mentions of which no part is word for word a
name: what is left of the task for an encoder, since any finds the name that is the mention itself.
"""

import time
from collections.abc import Sequence
from typing import Any

from leanformer.linking.dictionary import Dictionary
from leanformer.linking.encoders import Encoder
from leanformer.linking.mentions import Mention
from leanformer.linking.search import nearest, size_of

KS = (1, 5)


def score(
    encoder: Encoder, mentions: Sequence[Mention], dictionary: Dictionary, composites: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the results of a run, and a row per mention (its parts, the ids, the names found, whether it is right at
    each k)."""
    names, parts = list(dictionary.meanings), list(dict.fromkeys(part for m in mentions for part in m.parts))
    started = time.perf_counter()
    indexed = encoder.vectors(names)
    encoding = time.perf_counter() - started
    asked = encoder.vectors(parts)
    started = time.perf_counter()
    found = nearest(asked, indexed, max(KS))
    searching = time.perf_counter() - started
    candidates = {
        part: [(names[n], concept) for n in row for concept in dictionary.meanings[names[n]]][: max(KS)]
        for part, row in zip(parts, found, strict=True)
    }
    rows = [_row(number, mention, candidates, dictionary, composites) for number, mention in enumerate(mentions)]
    unlisted = [row for row in rows if not any(part in dictionary.meanings for part in row["parts"])]
    results = {
        **{f"accuracy@{k}": _share(rows, k) for k in KS},
        **{f"unlisted_accuracy@{k}": _share(unlisted, k) for k in KS},
        "mentions": len(rows),
        "unlisted": len(unlisted),
        "names": len(names),
        **encoder.size,
        "index_bytes": size_of(indexed),
        "names_per_second": len(names) / encoding,
        "searches_per_second": len(parts) / searching,
    }
    return results, rows


def right(mention: Mention, found: Sequence[Sequence[set[str]]], k: int, composites: str) -> bool:
    """`found[p]` holds the ids of part p's names, nearest first."""
    gold = set(mention.gold)
    ids = [set[str]().union(*names[:k]) for names in found]
    return all(gold & part for part in ids) and (composites != "each" or gold <= set[str]().union(*ids))


def _row(
    number: int,
    mention: Mention,
    candidates: dict[str, list[tuple[str, int]]],
    dictionary: Dictionary,
    composites: str,
) -> dict[str, Any]:
    found = [candidates[part] for part in mention.parts]
    ids = [[set(dictionary.ids[concept]) for _, concept in part] for part in found]
    return {
        "index": number,
        "parts": mention.parts,
        "gold": mention.gold,
        "found": [[{"name": name, "id": dictionary.ids[concept][0]} for name, concept in part] for part in found],
        **{f"right@{k}": right(mention, ids, k, composites) for k in KS},
    }


def _share(rows: Sequence[dict[str, Any]], k: int) -> float | None:
    return sum(row[f"right@{k}"] for row in rows) / len(rows) if rows else None
