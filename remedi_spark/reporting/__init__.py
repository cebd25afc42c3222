"""The report: a model of what it shows (:class:`Report`) and its page (:func:`render`)."""

from remedi_spark.reporting.model import Report
from remedi_spark.reporting.render import render

__all__ = ["Report", "render"]
