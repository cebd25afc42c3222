"""A two-part (hurdle) model of amounts with many zeros: E[y] = P(y > 0) · E[y | y > 0].

Both parts are LightGBMs of the same shape: log-loss on whether there is an amount, over all rows; a gamma deviance with
a log link on how much, over the rows that have one. Source: Cragg (1971), "Some statistical models for limited
dependent variables", with boosted trees for both equations.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from scipy.special import log_expit

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.models.amounts import Mapped, log_of_amounts
from remedi_spark.models.contract import Array, Predictor, TrainingSet
from remedi_spark.models.lightgbm.fit import LightGBMLearner
from remedi_spark.models.lightgbm.predict import LightGBMPredictor
from remedi_spark.models.reference import Reference
from remedi_spark.storage.fitted import Fitted


@dataclass(frozen=True)
class HurdleLearner:
    """Fits a :class:`LightGBMConfig` whose objective is ``hurdle``."""

    config: LightGBMConfig

    def fit(self, data: TrainingSet) -> Fitted:
        """Fit both parts; inner validation rows stop each of them."""
        amounts, facts = log_of_amounts(data)
        rows = amounts.examples
        occurs = replace(data, examples=rows.whether_above_zero(), loss="logistic")
        parts = {
            "occurs": LightGBMLearner(self.config.model_copy(update={"objective": None})).fit(occurs),
            "amount": LightGBMLearner(self.config, "gamma").fit(replace(amounts, examples=rows.above_zero())),
        }
        texts = {name: part.payload.decode() for name, part in parts.items()}
        trees = {name: part.info["trees"] for name, part in parts.items()}
        info = {
            "trees": sum(trees.values()),
            "trees_by_part": trees,
            "rows_used": parts["occurs"].info["rows_used"],
            **facts,
        }
        return Fitted("hurdle", json.dumps(texts).encode(), info)


class HurdlePredictor:
    """Gives ln E[y] = ln P(y > 0) + ln E[y | y > 0]."""

    def __init__(self, occurs: Predictor, amount: Predictor) -> None:
        self._chance, self._amount = Mapped(occurs, log_expit), amount

    def __call__(self, x: Array) -> Array:
        """Return logs of amounts."""
        return self._chance(x) + self._amount(x)

    def contributions(self, x: Array, reference: Reference) -> tuple[Array, Array]:
        """Return the two parts' contributions to the log, which add up."""
        chance, base = self._chance.contributions(x, reference)
        amount, mean = self._amount.contributions(x, reference)
        return chance + amount, base + mean


def load(fitted: Fitted) -> Predictor:
    """Return the two boosters of a hurdle model as one predictor."""
    parts = json.loads(fitted.payload)
    occurs, amount = (LightGBMPredictor(Fitted("lightgbm", parts[name].encode())) for name in ("occurs", "amount"))
    return HurdlePredictor(occurs, amount)
