"""What conversion costs and how far distillation recovers it: `python -m experiments.conversion`."""
