"""``spark-submit jobs/scores.py --config …``: the same as ``remedi scores``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["scores", *sys.argv[1:]])
