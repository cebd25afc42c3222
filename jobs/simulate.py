"""``spark-submit jobs/simulate.py --owners N --out DIR …``: the same as ``remedi simulate``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["simulate", *sys.argv[1:]])
