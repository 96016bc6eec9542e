"""The `leanformer` command. Each verb parses its arguments, calls one function and prints the result.

A verb imports what it needs when it is called, since PyTorch and transformers take seconds, and `--help` is instant.
"""

# ruff: noqa: F401, I001  (importing a module adds its verbs)
from leanformer_cli import mechanisms
from leanformer_cli import prepare
from leanformer_cli import recipes
from leanformer_cli import train
from leanformer_cli import distill
from leanformer_cli import evaluate
from leanformer_cli import attention
from leanformer_cli import embed
from leanformer_cli import predict
from leanformer_cli import link
from leanformer_cli import compare
from leanformer_cli import status
from leanformer_cli import robustness
from leanformer_cli import reproduce
from leanformer_cli import convert
from leanformer_cli import export
from leanformer_cli import verify
from leanformer_cli import bench
from leanformer_cli.application import app, main

__all__ = ["app", "main"]
