"""`python -m experiments.related_methods` is `python -m experiments related-methods`."""

import sys

from experiments.__main__ import run

run(["related-methods", *sys.argv[1:]])
