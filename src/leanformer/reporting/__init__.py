"""Reports, which are made from the records of runs and need neither torch nor the runs' data."""
