"""`python -m experiments NAME ...`: the experiments by name; NAME --help says what each does."""

import sys
from importlib import import_module

from leanformer.spelling import suggest

NAMES = ("conversion", "real-models", "related-methods", "size")


def run(arguments: list[str]) -> None:
    """Run the experiment that the first argument names, and exit with its status; errors are one line."""
    try:
        name, *options = arguments or ["(none)"]
        if name not in NAMES:
            raise ValueError(f"experiment {name}: {suggest(name, NAMES)}")
        sys.exit(import_module(f"experiments.{name.replace('-', '_')}.command").main(options))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    run(sys.argv[1:])
