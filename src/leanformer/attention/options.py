"""Which options a constructor takes."""

import inspect
from typing import Any


def options_of(constructor: type[Any]) -> dict[str, Any]:
    """Name and default of every option: what the constructor takes after `self` and `shape`, unless the class lists
    them itself (`options`), as one made of parts must."""
    own = getattr(constructor, "options", None)
    if own is not None:
        return own()
    parameters = list(inspect.signature(constructor.__init__).parameters.values())[2:]
    return {p.name: p.default for p in parameters}
