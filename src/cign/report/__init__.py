"""The HTML report: one file with the results of runs and the definition of every number."""

from cign.report.page import write_report

__all__ = ["write_report"]
