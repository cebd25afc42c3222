"""Members with a log link, read on the standardised scale: against native boosters, without Spark."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pytest

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.maths.expectile import expectile_loss
from remedi_spark.maths.label_scale import LabelScale
from remedi_spark.models.lightgbm.fit import LightGBMLearner
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.reference import Reference
from remedi_spark.models.registry import learner_for
from remedi_spark.storage.fitted import Fitted

if TYPE_CHECKING:
    from tests.learners.conftest import Planted

SCALE = LabelScale("asinh", 15.0, 0.4, 1.3, 0.0)


def _booster(x: Any, y: Any, objective: str) -> lightgbm.Booster:
    settings = {"objective": objective, "verbose": -1, "num_leaves": 7, "num_threads": 1, "min_data_in_leaf": 10}
    return lightgbm.train(settings, lightgbm.Dataset(x, y), 20)


@pytest.fixture(scope="module")
def parts() -> tuple[Any, lightgbm.Booster, lightgbm.Booster]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(800, 3))
    occurs = rng.random(800) < 1 / (1 + np.exp(-x[:, 0]))
    amount = np.exp(2 + x[:, 1] + 0.3 * rng.normal(size=800))
    return x, _booster(x, occurs.astype(float), "binary"), _booster(x[occurs], amount[occurs], "gamma")


@pytest.fixture(scope="module")
def hurdle(parts: tuple[Any, lightgbm.Booster, lightgbm.Booster]) -> Fitted:
    _, occurs, amount = parts
    payload = json.dumps({"occurs": occurs.model_to_string(), "amount": amount.model_to_string()}).encode()
    return Fitted("hurdle", payload, {"label_scale": SCALE.to_dict()})


def test_a_hurdle_is_the_chance_times_the_amount(
    hurdle: Fitted, parts: tuple[Any, lightgbm.Booster, lightgbm.Booster]
) -> None:
    x, occurs, amount = parts
    expected = np.asarray(occurs.predict(x)) * np.asarray(amount.predict(x))
    np.testing.assert_allclose(SCALE(load_predictor(hurdle)(x)), expected, rtol=1e-9)


def test_contributions_add_up_to_the_margin(hurdle: Fitted, parts: Any) -> None:
    predictor, x = load_predictor(hurdle), parts[0]
    usual = Reference(np.zeros(3), np.arange(3), 3)
    contributions, start = predictor.contributions(x, usual)
    np.testing.assert_allclose(start, predictor(usual.row[None])[0], atol=1e-9)
    np.testing.assert_allclose(contributions.sum(1) + start, predictor(x), atol=1e-9)
    strongest = np.abs(contributions).mean(0).argsort()
    assert strongest[0] == 2  # the column of noise matters least


def test_a_log_link_without_a_scale_stays_a_log(parts: Any) -> None:
    x, _, amount = parts
    plain = load_predictor(Fitted("lightgbm", amount.model_to_string().encode(), {}))
    scaled = load_predictor(Fitted("lightgbm", amount.model_to_string().encode(), {"label_scale": SCALE.to_dict()}))
    np.testing.assert_allclose(SCALE(scaled(x)), np.exp(plain(x)), rtol=1e-9)


def test_an_expectile_model_has_the_least_loss_of_its_level(plant: Callable[..., Planted]) -> None:
    rng = np.random.default_rng(3)
    learned, fresh = plant(3000, seed=1), plant(3000, seed=2)
    drawn = {one.x.tobytes(): one.truth + rng.gumbel(0, 1 + np.abs(one.x[:, 0])) for one in (learned, fresh)}
    learned, fresh = (replace(one, target=drawn[one.x.tobytes()]) for one in (learned, fresh))
    margins = {}
    for level in (0.5, 0.8):
        config = LightGBMConfig(
            objective="expectile", expectile_level=level, num_iterations=200, num_leaves=7, min_data_in_leaf=50
        )
        fitted = learner_for(config).fit(learned.here(loss="mse"))
        margins[level] = load_predictor(fitted)(fresh.x)
    for own, other in ((0.5, 0.8), (0.8, 0.5)):
        losses = [expectile_loss(margins[level], fresh.target, own).mean() for level in (own, other)]
        assert losses[0] < losses[1]
    assert (margins[0.8] > margins[0.5]).mean() > 0.95


def test_weights_of_rare_high_amounts_do_not_make_a_log_mean_leap(plant: Callable[..., Planted]) -> None:
    def amounts(one: Planted) -> Planted:
        target = np.exp(3 + 2 * one.x[:, 0])  # its mean by these weights lies far above most of them
        return replace(one, target=target, weight=target / target.mean())

    learned, fresh = (amounts(plant(3000, seed=seed)) for seed in (1, 2))
    fitted = LightGBMLearner(LightGBMConfig(num_iterations=200), "gamma").fit(learned.here(loss="mse"))

    def deviance(log_mean: Any) -> float:
        return float(np.average(fresh.target * np.exp(-log_mean) + log_mean, weights=fresh.weight))

    constant = np.log(np.average(fresh.target, weights=fresh.weight))
    perfect = deviance(np.log(fresh.target))
    margin = load_predictor(fitted)(fresh.x)
    assert deviance(margin) - perfect < 0.1 * (deviance(constant) - perfect)


def test_synapseml_takes_no_loss_of_ours() -> None:
    with pytest.raises(ValueError, match="engine: found synapseml with objective expectile"):
        LightGBMConfig(objective="expectile", engine="synapseml")
