"""Which rows the fuser learns from when there are many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.models.row_draws import at_most

ROWS, POSITIVES, LIMIT = 20_000, 100, 2_100


@pytest.fixture(scope="module")
def train(spark: Any) -> Any:
    hashes = np.random.default_rng(0).integers(-(2**63), 2**63, ROWS)
    label = (np.arange(ROWS) < POSITIVES).astype(float)
    frame = pd.DataFrame({"label": label, "weight": np.where(np.arange(ROWS) % 2, 1.0, 3.0), "row_hash": hashes})
    return spark.createDataFrame(frame).cache()


def _chosen(train: Any, limit: int, *, positives: int = POSITIVES) -> pd.DataFrame:
    frame: pd.DataFrame = at_most(train, limit, rows=ROWS, positives=positives).toPandas()
    return frame.sort_values("row_hash", ignore_index=True)


def test_few_rows_are_all_taken(train: Any) -> None:
    assert at_most(train, ROWS, rows=ROWS, positives=POSITIVES) is train


def test_all_positives_stay_and_negatives_stand_for_all(train: Any) -> None:
    found, whole = _chosen(train, LIMIT), train.toPandas()
    assert found["label"].sum() == POSITIVES
    assert found.loc[found["label"] > 0, "weight"].isin([1.0, 3.0]).all(), "positives stand for themselves"
    assert abs(len(found) - LIMIT) < 5 * np.sqrt(LIMIT)
    for frame in (found, whole):
        frame["mass"] = frame["weight"] * (frame["label"] == 0)
    # A tenth of the negatives, of weights 1 and 3: standard error 2.4 % of their mass.
    assert found["mass"].sum() == pytest.approx(whole["mass"].sum(), rel=0.12)


def test_partitions_change_nothing(train: Any) -> None:
    pd.testing.assert_frame_equal(_chosen(train, LIMIT), _chosen(train.repartition(7), LIMIT))


def test_positives_fill_half_of_the_limit_at_most(train: Any) -> None:
    found = _chosen(train, 80)
    rare = found["label"] == 1
    assert abs(rare.sum() - 40) < 5 * np.sqrt(40 * 0.6)
    assert abs((~rare).sum() - 40) < 5 * np.sqrt(40)
    assert set(np.round(found.loc[rare, "weight"], 9)) <= {2.5, 7.5}


def test_amounts_are_sampled_alike(train: Any) -> None:
    found = _chosen(train, 2_000, positives=0)
    assert abs(len(found) - 2_000) < 5 * np.sqrt(2_000)
    assert set(np.round(found["weight"], 9)) == {10.0, 30.0}
