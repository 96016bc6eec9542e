"""How what is missing is installed: the end of every error message about a package that an extra brings.

leanformer is no package of an index, so a name alone would install whatever somebody else registers under it.
"""


def how_to_install(extra: str) -> str:
    """The remedy, for a checkout; docs/install.md has the same for a wheel. `extra` is one of pyproject.toml's."""
    return f'pip install -e ".[{extra}]" in leanformer\'s checkout'
