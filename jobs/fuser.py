"""``spark-submit jobs/fuser.py --config …``: the same as ``remedi fuser``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["fuser", *sys.argv[1:]])
