"""``spark-submit jobs/features.py --config …``: the same as ``remedi features``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["features", *sys.argv[1:]])
