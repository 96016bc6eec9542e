"""Arguments that are one value or a list of them."""

from collections.abc import Iterable, Sequence


def names(given: str | Sequence[str] | None) -> list[str]:
    """Returns the names; a single string is one name."""
    return [given] if isinstance(given, str) else list(given or ())


def rates(given: float | Iterable[float] | None, name: str) -> list[float] | None:
    """Returns the rates, None if none are given. ValueError for what is no number above 0."""
    if given is None:
        return None
    each = list(given) if isinstance(given, Iterable) else [given]
    if not each or not all(isinstance(rate, int | float) and rate > 0 for rate in each):
        raise ValueError(f"{name} = {given!r}: give a list of numbers above 0")
    return [float(rate) for rate in each]


def seeds(given: int | Iterable[int], name: str, first: int = 1) -> list[int]:
    """Returns the seeds: 3 stands for three of them from `first` on."""
    if isinstance(given, int) and not isinstance(given, bool):
        numbers = list(range(first, first + given))
    else:
        numbers = list(given) if isinstance(given, Iterable) else []
    whole = all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in numbers)
    if not numbers or not whole or len(set(numbers)) < len(numbers):
        raise ValueError(f"{name} = {given!r}: give how many, or a list of different whole numbers")
    return numbers
