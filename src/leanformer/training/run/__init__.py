"""A run directory: its record, checkpoints, curve and scores, and what its user sees of it."""
