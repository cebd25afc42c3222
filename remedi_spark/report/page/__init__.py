"""The report: a model of what it shows (:class:`Report`) and its page (:func:`render`)."""

from remedi_spark.report.page.model import Report
from remedi_spark.report.page.render import render

__all__ = ["Report", "render"]
