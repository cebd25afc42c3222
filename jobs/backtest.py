"""``spark-submit jobs/backtest.py …``: the same as ``remedi backtest``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["backtest", *sys.argv[1:]])
