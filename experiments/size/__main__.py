"""`python -m experiments.size` is `python -m experiments size`."""

import sys

from experiments.__main__ import run

run(["size", *sys.argv[1:]])
