"""Two whole runs of a regression on the same rows: what the second's errors are beside the first's.

    remedi run --config conf/complete_journey_spend.yaml --root run/vanilla --set regression.lds.enabled=false \
      --set regression.scale=linear
    remedi run --config conf/complete_journey_spend.yaml --root run/default
    python benchmarks/regression_chain.py run/vanilla run/default

Teacher and student on the test rows; few-shot rows are those whose label fell, in training, into one of 100 bins
of equal width (on the label itself, whatever was learned) with fewer than 20 rows. Intervals: 95 %, by bootstrap over
owners.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import typer

from remedi_spark.config.spark import SparkConfig
from remedi_spark.maths.label_density import width_edges
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.maths.regression import SMALLEST_ERROR
from remedi_spark.spark.session import get_session
from remedi_spark.storage.tables import Tables

MODELS = {"fuser": "evaluation_fused_scores", "student": "evaluation_student_scores"}
KEY = ["owner_id", "snapshot_date"]
BINS, FEW, RESAMPLES = 100, 20, 1000


def main(first: Path, second: Path) -> None:
    """Compare the runs below two roots."""
    for model in MODELS:
        a, b = (_errors(root, model) for root in (first, second))
        both = a.join(b.drop(columns="few"), how="inner", lsuffix="_a", rsuffix="_b").reset_index()
        if len(both) != len(a) or len(both) != len(b):
            raise SystemExit(f"the runs have {len(a)} and {len(b)} test rows, {len(both)} of them the same")
        for name, rows in (("all", both), ("few", both[both["few"]])):
            mae, gmae = (_change(rows, geometric=geometric) for geometric in (False, True))
            typer.echo(f"{model:<8} {name}: {len(rows):>6} rows  MAE {mae}  GMAE {gmae}")


def _errors(root: Path, model: str) -> pd.DataFrame:
    """Return the absolute error of each test row, and whether it is few-shot."""
    scale = LabelScale.from_dict(json.loads((root / "model/work/evaluation/labels.json").read_text())["scale"])
    tables = Tables(get_session(SparkConfig()), str(root))
    # The student's table has no training rows.
    train = tables.read(MODELS["fuser"]).where("part = 'train' AND label IS NOT NULL").select("label").toPandas()
    test = (
        tables.read(MODELS[model]).where("part = 'test' AND label IS NOT NULL").select(*KEY, "label", model).toPandas()
    )
    edges = width_edges(train["label"].min(), train["label"].max(), BINS)
    counts, _ = np.histogram(train["label"], edges)
    place = np.clip(np.searchsorted(edges, test["label"], side="right") - 1, 0, BINS - 1)
    error = np.abs(scale(test[model]) - test["label"])
    return test[KEY].assign(error=error, few=counts[place] < FEW).set_index(KEY)


def _change(rows: pd.DataFrame, *, geometric: bool) -> str:
    """Return the mean error of the first run and its relative change in the second, paired, by owner."""
    errors = [rows[f"error_{side}"].to_numpy() for side in ("a", "b")]
    sides = [np.log(np.maximum(error, SMALLEST_ERROR)) if geometric else error for error in errors]
    owner = pd.factorize(rows["owner_id"])[0]
    sums = np.stack([np.bincount(owner, weights=side) for side in (*sides, np.ones(len(rows)))])

    def change(totals: np.ndarray) -> np.ndarray:
        a, b = totals[0] / totals[2], totals[1] / totals[2]
        return np.expm1(b - a) if geometric else b / a - 1

    rng, number = np.random.default_rng(0), sums.shape[1]
    drawn = [change(sums @ np.bincount(rng.integers(0, number, number), minlength=number)) for _ in range(RESAMPLES)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    mean = float(sides[0].mean())
    return f"{np.exp(mean) if geometric else mean:.1f} {change(sums.sum(1)):+.1%} ({low:+.1%} to {high:+.1%})"


if __name__ == "__main__":
    typer.run(main)
