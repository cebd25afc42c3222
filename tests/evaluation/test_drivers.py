"""Mean scores along features against pandas on the driver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from remedi_spark.report.drivers import LEVELS, _parts, _shares, effects
from remedi_spark.report.page.model import Effect, FeatureImportance
from remedi_spark.samples.schema import Feature, FeatureContract

CONTRACT = FeatureContract(
    (Feature("visits", "number"), Feature("city", "category"), Feature("flat", "number")), "o", None
)
ROWS = 1000


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    visits = rng.gamma(2.0, 10.0, ROWS)
    visits[rng.random(ROWS) < 0.1] = np.nan
    city = rng.choice([*"abcdefghij"], ROWS, p=np.arange(1, 11) / 55)
    return pd.DataFrame({"f0": visits, "f1": city, "f2": np.full(ROWS, 3.0), "score": rng.random(ROWS)})


@pytest.fixture(scope="module")
def curves(spark: Any, table: pd.DataFrame) -> dict[str, Effect]:
    frame = table.astype(object).where(table.notna(), None)
    rows = spark.createDataFrame(frame, "f0 double, f1 string, f2 double, score double").repartition(3)
    return {one.feature: one for one in effects(rows, CONTRACT, ["city", "visits", "flat"], "score")}


def test_a_number_is_cut_into_bins_of_about_equal_mass(curves: dict[str, Effect], table: pd.DataFrame) -> None:
    found, known = curves["visits"], table[table["f0"].notna()]
    assert len(found.rows) == 10
    assert sum(found.rows) == len(known)
    assert max(found.rows) < 1.4 * min(found.rows)
    assert found.values == sorted(found.values)
    assert np.average(found.mean_score, weights=found.rows) == pytest.approx(known["score"].mean())
    assert np.average(found.values, weights=found.rows) == pytest.approx(known["f0"].mean())


def test_the_most_frequent_levels_of_a_text(curves: dict[str, Effect], table: pd.DataFrame) -> None:
    counts = table["f1"].value_counts()[:LEVELS]
    assert curves["city"].values == list(counts.index)
    assert curves["city"].rows == counts.tolist()
    expected = table.groupby("f1")["score"].mean()[counts.index]
    np.testing.assert_allclose(curves["city"].mean_score, expected)


def test_a_constant_has_one_bin(curves: dict[str, Effect]) -> None:
    assert curves["flat"].values == [3.0]
    assert curves["flat"].rows == [ROWS]


def test_days_are_written_as_days_of_any_year(spark: Any) -> None:
    contract = FeatureContract((Feature("until", "date"),), "o", None)
    days = [float(np.datetime64(day, "D").astype(int)) for day in ("9999-12-31", "1500-02-28")]
    rows = spark.createDataFrame([(day, 0.1) for day in days for _ in range(20)], "f0 double, score double")
    (found,) = effects(rows, contract, ["until"], "score")
    assert found.values == ["1500-02-28", "9999-12-31"]


def test_a_rare_level_that_moves_the_score_has_a_place(spark: Any) -> None:
    contract = FeatureContract((Feature("club", "category"),), "o", None)
    rows = [(f"town {i % 20}", 0.01) for i in range(400)] + [("gold", 0.9)] * 3
    (found,) = effects(spark.createDataFrame(rows, "f0 string, score double"), contract, ["club"], "score")
    assert "gold" in found.values
    assert len(found.values) == LEVELS
    assert found.rows == sorted(found.rows, reverse=True)


def test_contributions_are_shares_of_their_sum_largest_first() -> None:
    found = _shares({0: 1.0, 2: 3.0, 1: 1.0}, ["b", "a", "c"])
    assert [(one.feature, one.importance) for one in found] == [("c", 0.6), ("a", 0.2), ("b", 0.2)]
    assert _shares({0: 0.0}, ["b"]) == [FeatureImportance(feature="b", importance=0.0)]


def test_a_task_gives_its_sums_and_the_owners_behind_them() -> None:
    found = _parts(np.array([0.25, 0.5]), pa.array([7, 7, 9], pa.int64())).to_pydict()
    assert found == {
        "position": [0, 1, -1, -1, -1], "size": [0.25, 0.5, 1.0, 1.0, 1.0], "owner_id": [None, None, 7, 7, 9]
    }  # fmt: skip
