"""``spark-submit jobs/report.py --config …``: the same as ``remedi report``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
