"""Reads the records of runs, comparisons and plans."""
