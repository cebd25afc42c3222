"""Recall of a run on a simulated world, as a share of the best possible.

    remedi simulate --owners 2000 --out run/world
    remedi run --config conf/owners.yaml
    python benchmarks/owners.py --root run/owners --world run/world

Both rankings, by the model's score and by the true probability that the labels were drawn from, are measured on the
run's test rows.
"""

from __future__ import annotations

import argparse

from remedi_spark.config.spark import SparkConfig
from remedi_spark.simulation.recall import expected_best_recall, recall_share
from remedi_spark.spark.session import get_session
from remedi_spark.storage.tables import Tables

SCORED = {"fuser": ("evaluation_fused_scores", "fuser"), "student": ("evaluation_student_scores", "student")}


def main() -> None:
    """Print recall in the top K of teacher and student beside the best possible."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="root of the run")
    parser.add_argument("--world", required=True, help="folder of the simulated world")
    parser.add_argument("--budget", type=float, default=0.075)
    given = parser.parse_args()
    spark = get_session(SparkConfig())
    run, truth = Tables(spark, given.root), Tables(spark, given.world).read("truth")
    for model, (table, score) in SCORED.items():
        test = run.read(table).filter("part = 'test' AND label IS NOT NULL")
        found = recall_share(test, truth, score, given.budget)
        print(
            f"{model:<8} rows {found.rows:,}  positives {found.positives:,}  K {found.k:,}"
            f"  recall {found.recall:.4f}  best {found.best:.4f}  share of the best {found.share:.1%}"
        )
    print(
        f"expected recall of the true probability over the whole world: {expected_best_recall(truth, given.budget):.4f}"
    )


if __name__ == "__main__":
    main()
