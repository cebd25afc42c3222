"""Target encodings against brute force on single rows; levels, nulls and the JSON form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.config.chain import EncodingConfig
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.encoder_fit import encode, fit_encoder
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.samples.schema import Feature, FeatureContract

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FOLDS = 4
SMOOTHING = 5.0
CONTRACT = FeatureContract((Feature("spend", "number"), Feature("brand", "category"), Feature("item", "category")))
CONFIG = EncodingConfig(smoothing=SMOOTHING, max_codes=6, min_rows=1)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    """5,000 items, most of them with one row; five brands and nulls; a few rows that nothing is trained on."""
    rng = np.random.default_rng(0)
    count = 6000
    brand = rng.choice(["a", "b", "c", "d", "é,\"'"], count, p=[0.5, 0.2, 0.1, 0.1, 0.1]).astype(object)
    brand[rng.random(count) < 0.1] = None
    items = np.concatenate([np.arange(5000), rng.integers(0, 50, count - 5000)])
    label = (rng.random(count) < np.where(brand == "b", 0.4, 0.1)).astype(float)
    return pd.DataFrame(
        {
            "row": np.arange(count),
            "f0": np.where(rng.random(count) < 0.1, np.nan, rng.normal(size=count)),
            "f1": brand,
            "f2": np.char.add("item ", items.astype(str)).astype(object),
            "label": label,
            "fold": np.where(rng.random(count) < 0.1, -1, rng.integers(0, FOLDS, count)),
        }
    )


@pytest.fixture(scope="module")
def table(spark: SparkSession, rows: pd.DataFrame) -> Any:
    schema = "row long, f0 double, f1 string, f2 string, label double, fold int"
    return spark.createDataFrame(rows, schema).withColumn("f0", _null_for_nan("f0")).cache()


def _null_for_nan(name: str) -> Any:
    from pyspark.sql import functions as F

    return F.when(~F.isnan(name), F.col(name))


@pytest.fixture(scope="module")
def encoder(table: Any) -> Encoder:
    return fit_encoder(table.where("fold >= 0"), CONTRACT, CONFIG, folds=FOLDS, binary=True)


@pytest.fixture(scope="module")
def encoded(table: Any, encoder: Encoder) -> dict[str, np.ndarray]:
    found = encode(table, encoder).orderBy("row").select("x", "te").collect()
    return {"x": np.array([row["x"] for row in found]), "te": np.array([row["te"] for row in found])}


def _brute_force(rows: pd.DataFrame, column: str, row: int, left_out: int | None) -> float:
    """The smoothed log-odds of a row's level, counted row by row on the rows it may know."""
    one = rows.iloc[row]
    known = rows[(rows["fold"] >= 0) & (rows["fold"] != left_out)]
    if left_out is not None and one["fold"] >= 0 and one["fold"] != left_out:
        known = known[known["fold"] != one["fold"]]
    same = known[known[column].isna()] if one[column] is None else known[known[column] == one[column]]
    prior = known["label"].mean()
    mean = (same["label"].sum() + SMOOTHING * prior) / (len(same) + SMOOTHING)
    return float(np.log(mean / (1 - mean)))


@pytest.mark.parametrize("left_out", [0, 1, 2, 3, None])
def test_target_encodings_are_those_counted_by_hand(
    rows: pd.DataFrame, encoded: dict[str, np.ndarray], left_out: int | None
) -> None:
    variant = FOLDS if left_out is None else left_out
    picked = np.random.default_rng(1).choice(len(rows), 25, replace=False)
    for feature, column in enumerate(("f1", "f2")):
        expected = [_brute_force(rows, column, int(row), left_out) for row in picked]
        np.testing.assert_allclose(encoded["te"][picked, variant, feature], expected, rtol=1e-9)


def test_no_encoding_moves_with_the_own_label_or_the_left_out_fold(
    table: Any, rows: pd.DataFrame, encoded: dict[str, np.ndarray]
) -> None:
    """Flip every label of one fold: what that fold's rows read, and what its model reads, stays the same."""
    from pyspark.sql import functions as F

    flipped = table.withColumn("label", F.when(F.col("fold") == 2, 1 - F.col("label")).otherwise(F.col("label")))
    other = fit_encoder(flipped.where("fold >= 0"), CONTRACT, CONFIG, folds=FOLDS, binary=True)
    again = np.array([row["te"] for row in encode(flipped, other).orderBy("row").select("te").collect()])
    mine = (rows["fold"] == 2).to_numpy()
    for variant in (0, 1, 3):
        np.testing.assert_allclose(again[mine, variant], encoded["te"][mine, variant], rtol=1e-12)
    np.testing.assert_allclose(again[:, 2], encoded["te"][:, 2], rtol=1e-12)
    assert np.abs(again[~mine, 0] - encoded["te"][~mine, 0]).max() > 0.1, "the others do move"


def test_the_model_of_all_folds_reads_training_rows_as_rows_to_score(
    rows: pd.DataFrame, encoder: Encoder, encoded: dict[str, np.ndarray]
) -> None:
    """Nothing that it reads may tell folds apart: each fold was taught by other models."""
    np.testing.assert_allclose(
        np.hstack([encoded["x"], encoded["te"][:, FOLDS]]), encoder.transform(rows), rtol=1e-12, equal_nan=True
    )


def test_a_level_with_one_row_tells_nothing_of_its_label(rows: pd.DataFrame, encoded: dict[str, np.ndarray]) -> None:
    """Rows alone in their item read the prior of the folds they may know, whatever their own label is."""
    single = ~rows["f2"].duplicated(keep=False) & (rows["fold"] == 1)
    assert rows.loc[single, "label"].nunique() == 2
    assert len(np.unique(encoded["te"][single.to_numpy(), 0, 1])) == 1


def test_fixed_slots_hold_numbers_codes_and_frequencies(
    rows: pd.DataFrame, encoder: Encoder, encoded: dict[str, np.ndarray]
) -> None:
    kinds = [(slot.feature, slot.kind, slot.cardinality) for slot in encoder.layout.slots]
    # Brands: five and null; items have too many levels for a code.
    assert kinds == [(0, "number", 0), (1, "code", 7), (1, "frequency", 0), (2, "frequency", 0), (1, "target", 0),
                     (2, "target", 0)]  # fmt: skip
    np.testing.assert_array_equal(encoded["x"][:, 0], rows["f0"])
    train = rows[rows["fold"] >= 0]
    counts = train["f1"].value_counts(dropna=False)
    np.testing.assert_allclose(encoded["x"][:, 2], np.log1p(rows["f1"].map(counts)))
    assert set(encoded["x"][rows["f1"] == counts.index[0], 1]) == {0.0}, "code 0 is the most frequent level"
    assert len(np.unique(encoded["x"][:, 1])) == 6


def test_unseen_levels_have_a_code_of_their_own_and_the_prior(encoder: Encoder, rows: pd.DataFrame) -> None:
    unseen = pd.DataFrame({"f0": [0.0], "f1": ["never"], "f2": ["never"]})
    x = encoder.transform(unseen, leave_out=1)[0]
    prior = rows[(rows["fold"] >= 0) & (rows["fold"] != 1)]["label"].mean()
    assert x[1] == 6
    np.testing.assert_allclose(x[2:], [0, 0, *[np.log(prior / (1 - prior))] * 2])


def test_transform_is_what_encode_gives_a_row_no_model_saw(
    rows: pd.DataFrame, encoder: Encoder, encoded: dict[str, np.ndarray]
) -> None:
    test = (rows["fold"] < 0).to_numpy()
    for left_out in (0, 3):
        both = np.hstack([encoded["x"][test], encoded["te"][test, left_out]])
        np.testing.assert_array_equal(encoder.transform(rows[test], leave_out=left_out), both)


def test_rare_levels_count_as_unseen(table: Any) -> None:
    config = EncodingConfig(max_levels=3, max_codes=6, min_rows=1)
    few = fit_encoder(table.where("fold >= 0"), CONTRACT, config, folds=FOLDS, binary=True)
    assert len(few.levels[1].names) == len(few.levels[2].names) == 3
    assert few.levels[1].names[:2] == ("a", "b")
    kept, rare = few.positions(pd.DataFrame({"f0": [0, 0], "f1": ["b", "d"], "f2": ["x", "x"]}))[1]
    assert (kept, rare) == (1, 3)


def test_json_round_trip_encodes_the_same(rows: pd.DataFrame, encoder: Encoder) -> None:
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again.layout == encoder.layout
    np.testing.assert_array_equal(again.transform(rows, 0), encoder.transform(rows, 0))
    assert Layout.from_dict(json.loads(json.dumps(encoder.layout.to_dict()))) == encoder.layout


def test_continuous_labels_are_encoded_as_means(spark: SparkSession) -> None:
    data = [("a", 10.0, 0), ("a", 20.0, 1), ("b", -5.0, 1), ("a", 90.0, 2)]
    table = spark.createDataFrame(data, "f0 string, label double, fold int")
    contract = FeatureContract((Feature("level", "category"),))
    one = fit_encoder(table, contract, EncodingConfig(smoothing=1.0, min_rows=1), folds=3, binary=False)
    # Without fold 2: mean 25/3; level a has 10 + 20 in two rows.
    expected = (30 + 25 / 3) / (2 + 1)
    assert one.transform(pd.DataFrame({"f0": ["a"]}), leave_out=2)[0, -1] == pytest.approx(expected)


def test_a_table_without_categories_has_no_target_encodings(spark: SparkSession) -> None:
    table = spark.createDataFrame([(1.0, 0.0, 0), (2.0, 1.0, 1)], "f0 double, label double, fold int")
    plain = fit_encoder(table, FeatureContract((Feature("x", "number"),)), CONFIG, folds=2, binary=True)
    assert plain.layout == Layout((Slot(0, "number"),))
    found = encode(table, plain).orderBy("label").collect()
    assert [(row["x"], row["te"]) for row in found] == [([1.0], [[], [], []]), ([2.0], [[], [], []])]


def test_levels_of_few_rows_are_not_kept(spark: SparkSession) -> None:
    """Names, plates and addresses stay out of the model; a null is nobody's name."""
    rows = [(f"plate {i}", "often" if i % 2 else None if i == 2 else f"rare {i}", i % 2.0, i % 2) for i in range(60)]
    table = spark.createDataFrame(rows, "f0 string, f1 string, label double, fold int")
    contract = FeatureContract((Feature("plate", "category"), Feature("kind", "category")))
    found = fit_encoder(table, contract, EncodingConfig(), folds=2, binary=True)
    assert EncodingConfig().min_rows == 20
    assert found.levels[0].names == ()
    assert set(found.levels[1].names) == {"often", "\0null"}
    again = Encoder.from_dict(json.loads(json.dumps(found.to_dict())))
    frame = pd.DataFrame({"f0": ["plate 1"], "f1": ["often"]})
    assert np.isfinite(again.transform(frame)).all()
    assert again.transform(frame).shape == (1, again.layout.width)


def test_columns_whose_levels_come_and_go_are_not_read(spark: SparkSession) -> None:
    """A campaign of each month misleads; a city that stays, and names that are rare at all times, do not."""
    rng = np.random.default_rng(0)
    day = np.sort(rng.integers(0, 400, 4000))
    frame = pd.DataFrame({
        "f0": [f"campaign {d // 50}" for d in day], "f1": rng.choice(["north", "south", None], 4000),
        "f2": [f"name {i}" for i in rng.integers(0, 1500, 4000)], "label": rng.integers(0, 2, 4000) * 1.0,
        "fold": rng.integers(0, 2, 4000), "day": day,
    })  # fmt: skip
    table = spark.createDataFrame(frame, "f0 string, f1 string, f2 string, label double, fold int, day int")
    contract = FeatureContract(tuple(Feature(name, "category") for name in ("campaign", "city", "name")))

    def fitted(late: Any, **changes: float) -> Encoder:
        config = EncodingConfig(**{"min_rows": 2, **changes})
        return fit_encoder(table, contract, config, folds=2, binary=True, late=late)

    from pyspark.sql import functions as F

    found = fitted(F.col("day") > 299)
    assert found.passing == {0: 1.0}
    assert found.levels[0].names == ()
    assert set(found.levels[1].names) == {"north", "south", "\0null"}
    again = Encoder.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.passing == found.passing
    both = again.transform(pd.DataFrame({"f0": ["campaign 0", "new"], "f1": ["north"] * 2, "f2": ["name 1"] * 2}))
    np.testing.assert_array_equal(both[0], both[1])
    assert not fitted(None).passing
    assert not fitted(F.col("day") > 299, max_passing=1.0).passing
    assert not fitted(F.col("day") > 1000).passing
