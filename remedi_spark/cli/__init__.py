"""The ``remedi`` command."""

from remedi_spark.cli.app import app, main

__all__ = ["app", "main"]
