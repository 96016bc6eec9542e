"""Mixtures of texts with weights.

With weights w_k, which are divided by their sum, and n_k the characters that have been taken from text k, the next
document comes from the text with the smallest n_k / w_k, the first of several; so the share of every text stays within
a document of its weight. The mixture ends when the next document would come from a text that is at its end: nothing is
read twice, and the shares hold to the end. It is a function of the texts and the weights alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from leanformer.data.readers import Source

Read = Callable[[Sequence[Source], str], Iterator[str]]


@dataclass
class Mixture:
    """Texts by name, and their weights; `taken` says after a reading what came from each, and which one ended it."""

    weights: Mapping[str, float]
    texts: Any
    taken: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.texts, Mapping):
            named = " ".join(f"{name}=TEXT" for name in self.weights)
            raise ValueError(f"--mix needs texts with names, {named} (in Python, a mapping of names to texts)")
        if unknown := set(self.weights) ^ set(self.texts):
            name = min(unknown)
            lacking = "weight" if name in self.texts else "text"
            raise ValueError(f"--mix: {name!r} has no {lacking}; every name needs a text and a weight")
        for name, weight in self.weights.items():
            if not (isfinite(weight) and weight > 0):
                raise ValueError(f"--mix {name}={weight:g}: a weight must be positive")
        total = sum(self.weights.values())
        self.weights = {name: weight / total for name, weight in self.weights.items()}
        self.texts = {
            name: [found] if isinstance(found, str) or not isinstance(found, Sequence) else list(found)
            for name, found in self.texts.items()
        }

    @property
    def sources(self) -> Iterator[Source]:
        return (source for name in self.weights for source in self.texts[name])

    def documents(self, read: Read, title: str) -> Iterator[str]:
        streams = {name: iter(read(self.texts[name], f"{title}: {name}")) for name in self.weights}
        characters, numbers = dict.fromkeys(streams, 0), dict.fromkeys(streams, 0)
        while True:
            name = min(streams, key=lambda each: characters[each] / self.weights[each])
            document = next(streams[name], None)
            if document is None:
                break
            characters[name] += len(document)
            numbers[name] += 1
            yield document
        self.taken = {each: {"characters": characters[each], "documents": numbers[each]} for each in streams} | {
            "ended_by": name
        }
