"""Readers of the records of runs, comparisons and plans."""
