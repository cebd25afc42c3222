"""``spark-submit jobs/export.py …``: the same as ``remedi export``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["export", *sys.argv[1:]])
