"""What a contract finds: each of its checks is a promise in words, kept or broken for a reason."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

Check = Callable[[str, dict[str, Any]], None]
"""A function `check_SOME_PROMISE(name, options)` that raises an error if the promise is broken."""


def broken(checks: Sequence[Check], name: str, options: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Yields each promise in words, with the reason in one line if `name` breaks it with these options, else None."""
    for check in checks:
        promise = check.__name__.removeprefix("check_").replace("_", " ")
        try:
            check(name, options)
        except Exception as error:  # a plug-in's code may raise anything
            reason = " ".join(str(error).split()) or type(error).__name__
            yield promise, reason if isinstance(error, AssertionError) else f"{type(error).__name__}: {reason}"
        else:
            yield promise, None
