"""Which rows a training learns from when there are many: rare ones first, by owner, with weights that stand for all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from remedi_spark.models.row_caps import Shares
from remedi_spark.models.row_draws import as_drawn, draw, spare

OWNERS, SNAPSHOTS, RARE, UNLABELLED = 6_000, 3, 300, 900


@pytest.fixture(scope="module")
def rows(spark: Any) -> Any:
    """Three rows an owner; the first owners buy at the last snapshot, the last ones have no label."""
    owner = np.repeat(np.arange(OWNERS), SNAPSHOTS)
    label = ((owner < RARE) & (np.arange(len(owner)) % SNAPSHOTS == 2)).astype(float)
    label[owner >= OWNERS - UNLABELLED] = np.nan
    frame = pd.DataFrame({"owner_id": owner.astype(str), "label": label, "weight": 1.0})
    return spark.createDataFrame(frame).withColumn("label", F.nanvl("label", F.lit(None).cast("double"))).cache()


def _rare() -> Any:
    return F.col("label") > 0


def _counts(limit: int | None, spare: int = 0) -> Shares:
    labelled = SNAPSHOTS * (OWNERS - UNLABELLED)
    return Shares.of(limit, rare=RARE, others=labelled - RARE, unlabelled=SNAPSHOTS * UNLABELLED, spare=spare)


@pytest.mark.parametrize(
    ("limit", "rare", "others", "shares"),
    [
        (None, 10, 10**9, (1.0, 1.0)),
        (100, 20, 80, (1.0, 1.0)),
        (100, 20, 800, (1.0, 0.1)),
        (100, 500, 500, (0.1, 0.1)),
        (100, 500, 20, (0.16, 1.0)),  # few others: the rare ones fill what they leave
        (100, 0, 1000, (1.0, 0.1)),
    ],
)
def test_the_shares(limit: int | None, rare: int, others: int, shares: tuple[float, float]) -> None:
    found = Shares.of(limit, rare=rare, others=others)
    assert (found.rare, found.others) == pytest.approx(shares)
    assert found.every == (shares == (1.0, 1.0))


def test_all_rare_rows_are_taken_and_the_others_by_owner(rows: Any) -> None:
    shares = _counts(3_000)
    found, whole = draw(shares, rows, _rare(), 1).toPandas(), rows.toPandas()
    assert found["label"].sum() == RARE
    for part in (found["label"] == 0, found["label"].isna()):
        # All rows of an owner, or none: but for the rare ones, which are taken in any case.
        owners = found[part].groupby("owner_id").size()
        most = whole[whole["label"].isna() if found[part]["label"].isna().all() else whole["label"] == 0]
        assert (owners == most.groupby("owner_id").size().loc[owners.index]).all()
        # The weights add up to the rows that they stand for: of n owners drawn, within 4 standard errors.
        assert found.loc[part, "weight"].sum() == pytest.approx(len(most), rel=4 / math.sqrt(len(owners)))
    assert set(found.loc[found["label"] == 1, "weight"]) == {1.0}
    prior = np.average(found["label"].fillna(0), weights=found["weight"] * found["label"].notna())
    assert prior == pytest.approx(RARE / (SNAPSHOTS * (OWNERS - UNLABELLED)), rel=4 / math.sqrt(900))


@pytest.mark.parametrize(
    ("limit", "others", "wanted", "share"),
    [(None, 800, 100, 0.0), (100, 80, 100, 0.0), (100, 800, 200, 0.25), (100, 800, 10**6, 0.9), (100, 800, 0, 0.0)],
)
def test_the_share_of_spare_rows(limit: int | None, others: int, wanted: int, share: float) -> None:
    assert Shares.of(limit, rare=20, others=others, spare=wanted).spare == pytest.approx(share)


def test_spare_rows_are_of_owners_of_whom_none_is_taken(rows: Any) -> None:
    shares, mine = _counts(3_000, spare=4_000), F.col("owner_id").cast("int") < RARE
    taken, left = draw(shares, rows, _rare(), 1).toPandas(), spare(shares, rows, mine, 1).toPandas()
    assert not set(left["owner_id"]) & set(taken["owner_id"])
    assert (left["label"] == 0).all()
    assert set(left["weight"]) == set(taken.loc[taken["label"] == 0, "weight"])
    assert left.groupby("owner_id").size().eq(SNAPSHOTS).all()
    # Of owners without a rare row: their number within 4 standard errors of what the share says.
    expected = shares.spare * (OWNERS - UNLABELLED - RARE)
    assert left["owner_id"].nunique() == pytest.approx(expected, abs=4 * math.sqrt(expected))


def test_partitions_change_nothing(rows: Any) -> None:
    once, again = (
        draw(_counts(3_000), one, _rare(), 1).toPandas().sort_values(["owner_id", "label"], ignore_index=True)
        for one in (rows, rows.repartition(7, "label"))
    )
    pd.testing.assert_frame_equal(once, again)


def test_the_weights_as_drawn_are_those_from_before(rows: Any) -> None:
    shares = _counts(3_000)
    before = draw(shares, rows, _rare(), 1).select(as_drawn(shares, _rare()).alias("weight")).toPandas()
    np.testing.assert_allclose(before["weight"], 1.0, rtol=1e-12)


def test_the_shift_undoes_what_the_draw_does_to_the_prior() -> None:
    shares, prior = Shares(rare=0.5, others=0.02), 0.005
    drawn = shares.prior(prior)
    assert drawn == pytest.approx(0.0025 / (0.0025 + 0.0199))
    assert math.log(drawn / (1 - drawn)) + shares.shift == pytest.approx(math.log(prior / (1 - prior)))


def test_no_limit_takes_the_rows_as_they_are(rows: Any) -> None:
    assert draw(_counts(None), rows, _rare(), 1) is rows
