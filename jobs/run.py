"""``spark-submit jobs/run.py --config …``: the same as ``remedi run``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
