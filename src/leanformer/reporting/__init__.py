"""Reports, which are made from the records of runs and need neither torch nor the runs' data."""

from leanformer.reporting.write import write_report

__all__ = ["write_report"]
