"""A run directory: its record, checkpoints, curve and scores, and the progress display."""
