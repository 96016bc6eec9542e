"""Six neighbouring systems beside what is usual: `python -m experiments related-methods`."""
