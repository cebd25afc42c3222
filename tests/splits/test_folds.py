"""Folds by owner: even in positives, the same however the rows lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.errors import InputError
from remedi_spark.samples.folds import deal, inner_validation, require_positives
from tests.splits.parting import assign_folds

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDS = 5


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> Any:
    """1,000 owners with one to four snapshots each; 43 of them positive in some snapshot."""
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(1000), rng.integers(1, 5, 1000))
    first = ~pd.Series(owners).duplicated()
    positive = np.isin(owners, rng.choice(1000, 43, replace=False)) & first.to_numpy()
    table = pd.DataFrame({"owner_id": owners, "snapshot": np.arange(len(owners)), "label": positive.astype(float)})
    return spark.createDataFrame(table).cache()


def _folds(rows: Any, seed: int = 1) -> pd.DataFrame:
    found = assign_folds(rows, FOLDS, seed).orderBy("snapshot").toPandas()
    return found[["owner_id", "snapshot", "label", "fold", "block"]]


def test_every_row_stays_and_no_owner_is_in_two_folds(rows: Any) -> None:
    found = _folds(rows)
    assert len(found) == rows.count()
    assert found["snapshot"].is_unique
    assert (found.groupby("owner_id")["fold"].nunique() == 1).all()
    assert set(found["fold"]) == set(range(FOLDS))


def test_folds_differ_by_at_most_one_positive_owner(rows: Any) -> None:
    found = _folds(rows)
    positives = found[found["label"] == 1].groupby("fold")["owner_id"].nunique()
    assert sorted(positives) == [8, 8, 9, 9, 9]
    others = found.groupby("fold")["owner_id"].nunique()
    assert others.between(150, 250).all(), "about 200 each: five standard deviations of a binomial are 63"


def test_folds_do_not_depend_on_partitioning(rows: Any) -> None:
    pd.testing.assert_frame_equal(_folds(rows.repartition(1)), _folds(rows.repartition(7)))


def test_another_seed_gives_other_folds(rows: Any) -> None:
    same = (_folds(rows, seed=1)["fold"] == _folds(rows, seed=2)["fold"]).mean()
    assert same < 0.35, "one in five by chance"


def test_ids_as_text_are_dealt_like_ids_as_numbers(rows: Any) -> None:
    text = rows.withColumn("owner_id", rows["owner_id"].cast("string"))
    assert _folds(text)["fold"].tolist() == _folds(rows)["fold"].tolist()


def test_owners_dealt_beside_others_get_the_folds_of_a_deal_of_their_own(rows: Any) -> None:
    mine = F.col("owner_id") % 3 != 0
    owners = rows.groupBy("owner_id").agg(F.max(mine).alias("mine"), F.max(mine & (F.col("label") > 0)).alias("rare"))
    found = owners.select("owner_id", *deal("rare", FOLDS, 1, ("k", "b"), among="mine")).toPandas()
    alone = _folds(rows.where(mine)).drop_duplicates("owner_id").set_index("owner_id")
    dealt = found.dropna().set_index("owner_id").loc[alone.index]
    assert len(found) == 1000
    assert len(alone) == found["k"].notna().sum() == found["b"].notna().sum()
    assert dealt["k"].tolist() == alone["fold"].tolist()
    assert dealt["b"].tolist() == alone["block"].tolist()


@pytest.mark.parametrize("share", [0.15, 0.25])
def test_inner_validation_is_by_owner_and_of_its_share(rows: Any, share: float) -> None:
    found = assign_folds(rows, FOLDS, 1).where("fold != 3").withColumn("valid", inner_validation(3, share)).toPandas()
    assert (found.groupby("owner_id")["valid"].nunique() == 1).all()
    owners = found.groupby("owner_id").agg(valid=("valid", "first"), positive=("label", "max"))
    every = round(1 / share)
    assert owners["valid"].mean() == pytest.approx(1 / every, abs=0.05)
    kept = owners[owners["positive"] == 1].groupby("valid").size()
    assert kept[True] == pytest.approx(34 / every, abs=4), "positives are shared out too"


def test_inner_validation_turns_with_the_fold(rows: Any) -> None:
    marked = assign_folds(rows, FOLDS, 1)
    both = marked.select(inner_validation(0, 0.2).alias("a"), inner_validation(1, 0.2).alias("b")).toPandas()
    assert not (both["a"] & both["b"]).any()


def test_too_few_positives_are_refused_with_the_folds_that_would_work() -> None:
    require_positives(20, 5, "t")
    with pytest.raises(InputError, match=r"table t: 19 positive owners .* 5 folds.* use --set base_models.folds=4$"):
        require_positives(19, 5, "t")
    with pytest.raises(InputError, match="at least 8 positive owners are needed"):
        require_positives(7, 5, "t")
