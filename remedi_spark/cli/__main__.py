"""``python -m remedi_spark.cli``: the same as ``remedi``."""

from remedi_spark.cli.verbs import main

main()
