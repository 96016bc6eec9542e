"""`python -m experiments.conversion` is `python -m experiments conversion`."""

import sys

from experiments.__main__ import run

run(["conversion", *sys.argv[1:]])
