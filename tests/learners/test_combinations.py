"""Differences and ratios of numbers: planted ones are found, others left out; rows are combined alike everywhere."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.special import expit

from remedi_spark.ensemble.synthetic import mix
from remedi_spark.models.combinations import KEPT, _errs_more, try_combinations
from remedi_spark.samples.encoder import Encoder, Levels
from remedi_spark.samples.layout import Made
from remedi_spark.samples.schema import Feature, FeatureContract

ROWS = 4000
NUMBERS = range(6)
Array = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def x() -> Array:
    """Six numbers of 0.5 and more, independent of each other."""
    return np.random.default_rng(0).gamma(2.0, 2.0, (ROWS, 6)) + 0.5


def labels(margin: Array) -> Array:
    rng = np.random.default_rng(1)
    return (rng.random(ROWS) < expit(margin)).astype(float)


FOLD = np.random.default_rng(2).integers(0, 5, ROWS)


@pytest.mark.parametrize("how", ["difference", "ratio"])
def test_what_is_planted_between_two_numbers_is_found(x: Array, how: str) -> None:
    between = x[:, 1] - x[:, 4] if how == "difference" else 3 * np.log(x[:, 1] / x[:, 4])
    found = try_combinations(x, labels(1.5 * between - 2), FOLD, NUMBERS, (), 12, 0)
    assert {found.made[0].first, found.made[0].second} == {1, 4}
    assert len(found.made) <= KEPT
    assert found.after < 0.99 * found.before


@pytest.mark.parametrize(("rise", "errs_more"), [(-0.1, False), (0.0, False), (0.5, False), (3.0, True)])
def test_columns_are_left_out_where_a_trial_errs_more_beyond_chance(rise: float, errs_more: bool) -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(size=ROWS)
    before, change = rng.gamma(1.0, 0.1, ROWS), noise - noise.mean()
    standard_error = change.std() / np.sqrt(ROWS)
    assert _errs_more(before, before + change + rise * standard_error) is errs_more


def test_points_in_time_have_differences_to_one_another_alone(x: Array) -> None:
    label = labels(2 * (x[:, 1] - x[:, 4]) - 2)
    found = try_combinations(x, label, FOLD, NUMBERS, {1, 4}, 12, 0)
    timed = [one for one in found.made if {one.first, one.second} & {1, 4}]
    assert timed and all(one.operation == "difference" and {one.first, one.second} == {1, 4} for one in timed)


def test_only_the_strongest_numbers_are_combined(x: Array) -> None:
    label = labels(x[:, 1] - x[:, 4] + x[:, 0] / x[:, 2] - 2)
    few = try_combinations(x, label, FOLD, NUMBERS, (), 2, 0).made
    assert len({slot for one in few for slot in one[1:]}) <= 2


def test_a_pair_is_null_where_a_part_is_or_nothing_divides() -> None:
    a, b = np.array([1.0, np.nan, 1.0, 1.0, 1e300, np.inf]), np.array([2.0, 1.0, np.nan, 0.0, 1e-5, 1.0])
    np.testing.assert_array_equal(Made("ratio", 0, 1).of(a, b), [0.5, *[np.nan] * 5])
    np.testing.assert_array_equal(Made("difference", 0, 1).of(a, b), [-1.0, np.nan, np.nan, 1.0, np.nan, np.nan])


def encoder() -> Encoder:
    features = (Feature("a", "number"), Feature("c", "category"), Feature("b", "number"), Feature("d", "date"))
    levels = {1: Levels(("u", "v"), np.array([[3.0, 2.0], [2.0, 1.0]]), np.ones((2, 2)))}
    made = (Made("difference", 1, 0), Made("ratio", 0, 1))
    return Encoder(FeatureContract(features), levels, np.array([5.0, 3.0]), np.ones(2) * 2, 2, True, 5.0, 9, made=made)


def frame(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 50))
    a[3], b[4], b[5] = np.nan, np.nan, 0.0
    return pd.DataFrame({"f0": a, "f1": rng.choice(["u", "v", "w"], 50).astype(object), "f2": b, "f3": np.arange(50.0)})


def test_the_encoder_combines_and_says_so_in_the_users_names() -> None:
    one, rows = encoder(), frame()
    made = one.layout.where("made")
    assert one.names_made == ["b - a", "a / b"]
    assert [one.layout.slots[slot].feature for slot in made] == [2, 0]
    x = one.transform(rows, leave_out=1)
    np.testing.assert_array_equal(x[:, made[0]], rows["f2"] - rows["f0"])
    np.testing.assert_array_equal(x[:, made[1]], (rows["f0"] / rows["f2"]).where(rows["f2"] != 0))
    again = Encoder.from_dict(json.loads(json.dumps(one.to_dict())))
    assert again.layout == one.layout
    np.testing.assert_array_equal(again.transform(rows, 1), x)


def test_an_encoder_of_an_earlier_version_combines_nothing() -> None:
    tree = encoder().to_dict()
    del tree["made"]
    assert Encoder.from_dict(tree).layout.where("made") == []


@pytest.mark.parametrize("feature", [0, 2])
def test_another_value_of_a_number_is_combined_anew(feature: int) -> None:
    one, rows = encoder(), frame()
    x, values = one.transform(rows, leave_out=0), np.linspace(-1, 1, 50)
    one.write(x, feature, values, leave_out=0)
    np.testing.assert_array_equal(x, one.transform(rows.assign(**{f"f{feature}": values}), leave_out=0))


def test_made_up_rows_combine_the_numbers_that_they_hold() -> None:
    one, rows = encoder(), frame()
    layout, x = one.layout, one.transform(rows)
    fixed = x[:, : layout.fixed]
    mixed, _ = mix(fixed, np.zeros((50, 3, 1)), layout, np.random.default_rng(0))
    assert (mixed != fixed).any()
    for slot in layout.where("made"):
        made = layout.slots[slot].made
        assert made is not None
        np.testing.assert_array_equal(mixed[:, slot], made.of(mixed[:, made.first], mixed[:, made.second]))
