"""The `leanformer` command: verbs only. Each parses its arguments, calls one function and prints.

A package beside `leanformer`, because importing that registers its models with transformers, which takes seconds; here
every such import waits until a verb needs it, and `--help` is instant.
"""

# ruff: noqa: F401, I001  (to import a verb is to add it, and `--help` lists them in this order)
from leanformer_cli import mechanisms
from leanformer_cli import prepare
from leanformer_cli import train
from leanformer_cli import distill
from leanformer_cli import evaluate
from leanformer_cli import attention
from leanformer_cli import embed
from leanformer_cli import predict
from leanformer_cli import link
from leanformer_cli import compare
from leanformer_cli import robustness
from leanformer_cli import reproduce
from leanformer_cli import convert
from leanformer_cli import export
from leanformer_cli import verify
from leanformer_cli import bench
from leanformer_cli.application import app, main

__all__ = ["app", "main"]
