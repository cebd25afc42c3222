"""``spark-submit jobs/train.py --table …``: the same as ``remedi train``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
