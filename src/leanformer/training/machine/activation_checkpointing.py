"""Activation checkpointing: a block keeps its input alone, and computes the rest again in the backward pass.

For L blocks the activations of one block are kept, and L inputs (B, T, D); a step computes one more forward pass of the
blocks, about a third more. Dropout draws the same masks again, so loss and gradients are those without it.

Source: Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost".
"""

from typing import Any


def checkpoint_activations(model: Any) -> None:
    """Switch it on in a model of transformers, whose releases before 5.23 have the older name alone."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})
