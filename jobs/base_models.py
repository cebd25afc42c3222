"""``spark-submit jobs/base_models.py --config …``: the same as ``remedi base-models``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["base-models", *sys.argv[1:]])
