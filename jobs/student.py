"""``spark-submit jobs/student.py --config …``: the same as ``remedi student``."""

import sys

from remedi_spark.cli import main

if __name__ == "__main__":
    main(["student", *sys.argv[1:]])
