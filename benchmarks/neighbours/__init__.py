"""Six neighbouring systems beside what is usual: `python -m benchmarks.neighbours`."""
