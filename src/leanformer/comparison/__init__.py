"""A comparison: which runs it takes, what they will cost, and running them, one process each."""
