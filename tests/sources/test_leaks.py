"""Features that tell the label by themselves or name rows are found; honest ones are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.samples.leaks import find_leaks
from remedi_spark.samples.schema import FeatureContract, infer_features

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

N = 3000


def _found(spark: SparkSession, frame: pd.DataFrame, *, binary: bool = True) -> list[str]:
    table = spark.createDataFrame(frame.assign(owner_id=[f"o{i}" for i in range(len(frame))]))
    features, _ = infer_features(table, ["owner_id", "label"])
    contract = FeatureContract(tuple(features), "owner_id")
    rows = table.select("owner_id", table["label"].cast("double").alias("label"), *contract.select(table, table="t"))
    positives = int((frame["label"] > 0).sum())
    return find_leaks(rows, contract, labelled=len(frame), positives=positives, binary=binary)


@pytest.fixture(scope="module")
def honest() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    drive = rng.normal(size=N)
    label = (drive + rng.normal(size=N) > 2.5).astype("int64")
    return pd.DataFrame({
        "strong": drive, "income": rng.integers(20_000, 90_000, N), "visits": rng.poisson(3, N).astype("float64"),
        "city": rng.choice(["a", "b", "c"], N), "code": rng.choice([f"c{i}" for i in range(900)], N), "label": label,
        "often": np.where(rng.random(N) < 0.5, np.nan, drive),
    })  # fmt: skip


def test_honest_features_are_not_named(spark: SparkSession, honest: pd.DataFrame) -> None:
    assert _found(spark, honest) == []


def _with(frame: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    return frame.assign(**columns)


def test_features_that_tell_the_label_are_named(spark: SparkSession, honest: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    bought = honest["label"].to_numpy() == 1
    leaky = _with(
        honest,
        amount=np.where(bought, rng.gamma(2, 10, N), 0.0),
        reverse=np.where(bought, -1.0, 1.0) + 0.1 * rng.normal(size=N),
        middle=np.where(bought, 0.1, np.where(rng.random(N) < 0.5, -1.0, 1.0)) * rng.uniform(0.9, 1, N),
        status=np.where(bought, "invoice", rng.choice(["open", "none"], N)),
        paid_on=np.where(bought, rng.normal(size=N), np.nan),
    )
    found = _found(spark, leaky)
    assert [line.split("'")[1] for line in found] == ["amount", "reverse", "middle", "status", "paid_on"]
    assert found[-1].startswith("whether feature 'paid_on' is missing")
    assert all("0.0" not in line.split("(")[0] for line in found)


def test_features_that_name_rows_are_named(spark: SparkSession, honest: pd.DataFrame) -> None:
    names = _with(
        honest, row=np.arange(N), mail=[f"{i}@example.org" for i in range(N)],
        phone=np.random.default_rng(2).choice(10**9, N, replace=False),
    )  # fmt: skip
    found = _found(spark, names)
    assert [line.split("'")[1] for line in found] == ["row", "mail", "phone"]
    assert all("identifier" in line and "@" not in line for line in found)


def test_an_amount_that_is_the_label_of_a_regression_is_named(spark: SparkSession, honest: pd.DataFrame) -> None:
    amounts = _with(honest, label=honest["strong"] * 10 + np.random.default_rng(3).normal(size=N) * 5)
    assert _found(spark, amounts, binary=False) == []
    found = _found(spark, _with(amounts, gross=amounts["label"] * 1.2), binary=False)
    assert [line.split("'")[1] for line in found] == ["gross"]
