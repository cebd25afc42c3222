"""Measures of the test lists over owners, and the calibrators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from remedi_spark.columns import OWNER
from remedi_spark.guides.lists import MEASURES, METHODS
from remedi_spark.maths.calibrator_choice import best_calibrator
from remedi_spark.maths.calibrators import IdentityCalibrator

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Z = 1.96
"""Of a 95 % interval; there are hundreds of owners or more, or the interval is wide anyway."""
GROUPS = ("no visit", "up to 6 days", "7 to 15 days", "over 15 days")


def measured(rows: DataFrame, items: int) -> dict[str, Any]:
    """Return by part and method: mean over owners, interval, difference of the guide to the method, coverage.

    An owner that was tested at several snapshots counts once, with its mean.
    """
    width = len(METHODS) * len(MEASURES)
    columns = [F.avg(F.element_at("values", k + 1)).alias(f"v{k}") for k in range(width)]
    owners = rows.where(F.col("kind") == "owner").groupBy("part", OWNER).agg(F.max("a").alias("a"), *columns)
    figures = [F.count("*").alias("owners")]
    for k in range(width):
        lead = F.col(f"v{k % len(MEASURES)}") - F.col(f"v{k}")
        figures += [F.avg(f"v{k}").alias(f"m{k}"), F.stddev(f"v{k}").alias(f"s{k}")]
        figures += [F.avg(lead).alias(f"d{k}"), F.stddev(lead).alias(f"e{k}")]
    found = owners.groupBy("part").agg(*figures).toPandas().set_index("part")
    by_group = owners.groupBy("part", "a").agg(F.count("*").alias("owners"), *(F.avg(f"v{k}") for k in range(width)))
    groups = by_group.toPandas()
    shown = rows.where(F.col("kind") == "shown").groupBy("part", "a").agg(F.countDistinct("b").alias("items"))
    coverage = {(row["part"], row["a"]): row["items"] for row in shown.collect()}
    tree: dict[str, Any] = {"owners": {}, "methods": {}, "groups": {}}
    for part, row in found.iterrows():
        name = str(part)
        tree["owners"][name] = int(row["owners"])
        tree["methods"][name] = {
            method: {
                **{what: _figure(row, number * len(MEASURES) + k) for k, what in enumerate(MEASURES)},
                "coverage": coverage.get((name, number), 0) / max(items, 1),
            }
            for number, method in enumerate(METHODS)
        }
        tree["groups"][name] = {
            GROUPS[int(one["a"])]: {
                "owners": int(one["owners"]),
                **{method: float(one[f"avg(v{number * len(MEASURES)})"]) for number, method in enumerate(METHODS)},
            }
            for _, one in groups[groups["part"] == part].sort_values("a").iterrows()
        }
    return tree


def _figure(row: pd.Series[float], k: int) -> dict[str, float]:
    root = float(row["owners"]) ** 0.5
    error, lead_error = (float(np.nan_to_num(row[f"{what}{k}"])) / root for what in ("s", "e"))
    mean, lead = float(row[f"m{k}"]), float(row[f"d{k}"])
    return {
        "mean": mean, "low": mean - Z * error, "high": mean + Z * error,
        "lead": lead, "lead_low": lead - Z * lead_error, "lead_high": lead + Z * lead_error,
    }  # fmt: skip


def calibrators_of(rows: DataFrame, seed: int) -> dict[str, Any]:
    """Fit a map to probabilities for known and for cold items, in one task, on test pairs; return them as JSON."""
    import json

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        pairs = frame.sort_values([OWNER, "a", "values"], key=lambda c: c if c.name != "values" else c.str[0])
        logits, labels = pairs["values"].str[0].to_numpy(), pairs["values"].str[1].to_numpy()
        fitted = best_calibrator(logits, labels, pairs[OWNER].to_numpy(dtype=str), seed=seed)
        return pd.DataFrame({"part": [str(pairs["part"].iloc[0])], "map": [json.dumps(fitted.to_dict())]})

    found = rows.where(F.col("kind") == "pair").groupBy("part").applyInPandas(work, "part string, map string").collect()
    maps: dict[str, Any] = {row["part"]: json.loads(row["map"]) for row in found}
    return {part: maps.get(part, IdentityCalibrator().to_dict()) for part in ("all", "cold")}
