"""What conversion costs and what heals it: `python -m benchmarks.conversion`."""
