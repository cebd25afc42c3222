"""The ``remedi`` command."""

from remedi_spark.cli.verbs import app, main

__all__ = ["app", "main"]
