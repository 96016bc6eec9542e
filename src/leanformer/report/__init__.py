"""Reports: reads the records of runs, and needs neither torch nor the runs' data."""

from leanformer.report.write import write_report

__all__ = ["write_report"]
