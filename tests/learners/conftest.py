"""Rows with a planted signal, as every learner receives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from remedi_spark.models.contract import Examples, TrainingSet
from remedi_spark.models.spark_examples import SparkExamples
from remedi_spark.models.table_examples import TableExamples
from remedi_spark.samples.arrays import lists
from remedi_spark.samples.layout import Layout, Slot

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Array = npt.NDArray[np.float64]

LAYOUT = Layout((Slot(0, "number"), Slot(1, "number"), Slot(2, "number"), Slot(3, "code", 5)))
"""Three numbers and a category of four levels; code 4 is for levels never seen in training."""


@dataclass(frozen=True)
class Planted:
    """Encoded rows, their true log-odds and what was drawn from them."""

    x: Array
    truth: Array
    target: Array
    weight: Array
    valid: npt.NDArray[np.bool_]

    def frame(self, spark: SparkSession) -> Any:
        """Return the rows as a training frame; the hash puts them in an order that is not the table's."""
        order = np.random.default_rng(5).permutation(len(self.x))
        # Not through pandas, which would turn a NaN inside an array into a null.
        table = zip(
            self.x.tolist(),
            self.target.tolist(),
            self.weight.tolist(),
            self.valid.tolist(),
            order.tolist(),
            strict=True,
        )
        return spark.createDataFrame(
            list(table), "x array<double>, target double, weight double, valid boolean, row_hash long"
        )

    def table(self) -> pa.Table:
        """Return the same rows as a table of this process."""
        return pa.table({
            "x": lists(self.x), "target": self.target, "weight": self.weight, "valid": self.valid,
            "row_hash": np.random.default_rng(5).permutation(len(self.x)),
        })  # fmt: skip

    def here(self, **changes: Any) -> TrainingSet:
        """Return what a learner's ``fit`` takes, to be fitted in this process."""
        return self._set(TableExamples(self.table()), changes)

    def training_set(self, spark: SparkSession, **changes: Any) -> TrainingSet:
        """Return what a learner's ``fit`` takes, for one Spark worker unless changed."""
        return self._set(SparkExamples(self.frame(spark)), changes)

    def _set(self, examples: Examples, changes: dict[str, Any]) -> TrainingSet:
        prior = float(np.average(self.target, weights=self.weight))
        return replace(TrainingSet(examples, LAYOUT, "logistic", prior, 1000, 1, 7), **changes)


@pytest.fixture(scope="session")
def plant() -> Callable[..., Planted]:
    """Draw rows: x0 and x1 act on the log-odds, a null x2 and the level too; a tenth of x2 is null."""

    def draw(rows: int, seed: int = 0) -> Planted:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(rows, 4))
        x[:, 3] = rng.integers(0, 4, rows)
        x[rng.random(rows) < 0.1, 2] = np.nan
        truth = -1.5 + 1.5 * x[:, 0] - x[:, 1] + np.isnan(x[:, 2]) + 0.5 * (x[:, 3] == 1)
        target = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(np.float64)
        return Planted(x, truth, target, np.ones(rows), np.arange(rows) % 5 == 0)

    return draw
