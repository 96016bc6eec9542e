"""Checkpoints of other families: where they lie, what their tensors are called, and how they are read and written."""
