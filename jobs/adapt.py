"""``spark-submit jobs/adapt.py meta-train --config …``: the same as ``remedi adapt meta-train``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["adapt", *sys.argv[1:]])
