"""Rows of all phases are counted in one pass, each phase as if it were alone."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.ensemble.phase_counts import PhaseCounts, count_phases
from remedi_spark.samples.holdout import DROPPED, TEST, TRAIN, UNLABELLED

pytestmark = pytest.mark.spark
PHASES = ("holdout", "final")
DAYS = [date(2026, 1, 1) + timedelta(days=i) for i in range(40)]


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 400
    frame = pd.DataFrame({"owner_id": rng.integers(0, 150, n), "label": rng.choice([0.0, 0.5, 3.0], n)})
    frame["snapshot_date"] = [DAYS[i] for i in rng.integers(0, len(DAYS), n)]
    frame["weight"] = rng.choice([0.5, 1.0, 2.0], n)
    frame["holdout"] = rng.choice([TRAIN, TEST, UNLABELLED, DROPPED], n)
    frame["final"] = rng.choice([TRAIN, UNLABELLED], n)
    for phase in PHASES:
        unlabelled = frame[phase] == UNLABELLED
        frame.loc[unlabelled, "label"] = np.nan
    return frame


def _by_hand(frame: pd.DataFrame, phase: str, above: float) -> dict[str, Any]:
    train = frame[(frame[phase] == TRAIN) & frame["label"].notna()]
    days = sorted((day - date(1970, 1, 1)).days for day in train["snapshot_date"])
    rare = train["label"] > above
    return {
        "rows": len(train), "positives": (train["label"] > 0).sum(), "rare": rare.sum(),
        "rare_owners": train.loc[rare, "owner_id"].nunique(), "unlabelled": (frame[phase] == UNLABELLED).sum(),
        "prior": (train["weight"] * train["label"]).sum() / train["weight"].sum(),
        "until": train["snapshot_date"].max(),
        "late_from": days[int(np.ceil(0.75 * len(days))) - 1],
    }  # fmt: skip


def test_each_phase_is_counted_as_if_it_were_alone(spark: Any, rows: pd.DataFrame) -> None:
    above = {"holdout": 0.0, "final": 1.0}
    known = rows[(rows["holdout"] != TRAIN) | rows["label"].notna()]
    known = known[(known["final"] != TRAIN) | known["label"].notna()]
    frame = spark.createDataFrame(known).withColumn("label", F.nanvl("label", F.lit(None).cast("double")))
    parts = {phase: F.col(phase) for phase in PHASES}
    is_rare = {phase: (F.col(phase) == TRAIN) & (F.col("label") > above[phase]) for phase in PHASES}
    owners = frame.groupBy("owner_id").agg(*[
        F.coalesce(F.max(one), F.lit(False)).alias(f"rare_{phase}") for phase, one in is_rare.items()
    ])  # fmt: skip
    rare = {phase: f"rare_{phase}" for phase in PHASES}
    for partitions in (1, 7):
        found = count_phases(frame.repartition(partitions), parts, above, owners, rare, PHASES)
        for phase in PHASES:
            expected = PhaseCounts(**_by_hand(known, phase, above[phase]))
            assert vars(found[phase]) == pytest.approx(vars(expected)), phase
    alone = count_phases(frame, parts, above, owners, rare, ["final"])
    assert alone == {"final": found["final"]}


def test_rows_without_times_have_no_latest_quarter(spark: Any, rows: pd.DataFrame) -> None:
    frame = spark.createDataFrame(rows[["owner_id", "weight", "final"]]).withColumns(
        {"label": F.lit(1.0), "snapshot_date": F.lit(None).cast("date")}
    )
    owners = frame.select("owner_id", F.lit(True).alias("rare")).distinct()
    found = count_phases(frame, {"final": F.col("final")}, {"final": 0.0}, owners, {"final": "rare"}, ["final"])[
        "final"
    ]
    assert found.until is None
    assert found.late_from is None
    assert found.prior == 1.0


def test_nothing_is_counted_for_phases_that_are_done(spark: Any) -> None:
    nothing = spark.range(0)
    assert count_phases(nothing, {}, {}, nothing, {}, []) == {}
