"""The HTML report: one file that shows what runs did, and how every number was obtained."""

from cign.report.page import write_report

__all__ = ["write_report"]
