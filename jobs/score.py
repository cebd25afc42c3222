"""``spark-submit jobs/score.py --table …``: the same as ``remedi score``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["score", *sys.argv[1:]])
