"""How a model's probabilities turned out on the test rows of its training: counts, kept in the bundle.

Test rows are scored by the twin that was trained without them; the shipped model, which has learned from them too, is
taken to be as good on the rows that come after. Counted by group of owners and bin of the log-odds, so that no owner's
row is kept and the error of a calibration can be told with an owner's rows counting together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER
from remedi_spark.maths.recalibration import Recalibration, recalibrate, unknown
from remedi_spark.maths.score_grid import log_odds

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Array = npt.NDArray[np.float64]

GROUPS = 20
STEP = 0.1
_FINE = 50
"""Bins of the margin a unit, in which Spark counts before the calibration is applied."""


@dataclass(frozen=True, eq=False)
class HoldoutScores:
    """Counts of test rows.

    Attributes:
        logits: mean log-odds of the calibrated probabilities in each bin, rising, shape (b,).
        rows: by group of owners and bin, shape (g, b).
        positives: of these, shape (g, b).
    """

    logits: Array
    rows: Array
    positives: Array

    @classmethod
    def of(cls, p: Array, labels: Array, groups: Array, rows: Array | None = None) -> HoldoutScores:
        """Count rows, or bins of ``rows`` rows of which ``labels`` are positive; all shapes (n,)."""
        z = log_odds(p)
        weight = np.ones(len(z)) if rows is None else rows
        bins, place = np.unique(np.floor(z / STEP), return_inverse=True)
        counts, positives = np.zeros((2, GROUPS, len(bins)))
        np.add.at(counts, (groups.astype(np.int64), place), weight)
        np.add.at(positives, (groups.astype(np.int64), place), labels)
        total = np.bincount(place, z * weight, len(bins))
        return cls(total / np.maximum(counts.sum(axis=0), 1e-12), counts, positives)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able form."""
        return {
            "logits": self.logits.tolist(), "rows": self.rows.tolist(), "positives": self.positives.tolist(),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> HoldoutScores:
        """Rebuild from :meth:`to_dict`."""
        bins = len(tree["logits"])
        shape = (-1, bins) if bins else (0, 0)
        return cls(
            np.asarray(tree["logits"], dtype=np.float64),
            np.asarray(tree["rows"], dtype=np.float64).reshape(shape),
            np.asarray(tree["positives"], dtype=np.float64).reshape(shape),
        )

    @cached_property
    def known(self) -> Recalibration:
        """How far the probabilities were off; without a test row, what is known of any model."""
        if not self.rows.sum():
            return unknown()
        return recalibrate(self.logits, self.rows, self.positives)

    @property
    def prior(self) -> float | None:
        """Share of positives among the test rows, in (0, 1); None without both kinds."""
        rows, positives = float(self.rows.sum()), float(self.positives.sum())
        return positives / rows if 0 < positives < rows else None

    def recall(self, share: float) -> float | None:
        """Return the recall of the best ``share`` of the test rows, in [0, 1]; None without positives."""
        if self.prior is None:
            return None
        rows, positives = self.rows.sum(axis=0)[::-1], self.positives.sum(axis=0)[::-1]
        listed = np.clip((share * rows.sum() - (np.cumsum(rows) - rows)) / np.maximum(rows, 1e-12), 0, 1)
        return float(positives @ listed / positives.sum())


NOTHING = HoldoutScores(np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0)))
"""Of a bundle that has no test rows."""


def count_holdout(rows: DataFrame, margin: str, calibrate: Callable[[Array], Array]) -> HoldoutScores:
    """Count labelled rows by their calibrated probability; only sums by group and bin of the margin reach the driver.

    Args:
        rows: owner_id, label, and the column ``margin``.
        margin: what ``calibrate`` turns into a probability.
        calibrate: increasing.
    """
    group = F.pmod(F.xxhash64(F.col(OWNER).cast("string"), F.lit(GROUPS)), F.lit(GROUPS)).cast("int")
    binned = rows.groupBy(group.alias("g"), F.floor(F.col(margin) * _FINE).alias("b"))
    found = binned.agg(
        F.count("*").alias("rows"), F.sum(F.col(LABEL).cast("double")).alias("positives"), F.avg(margin).alias("m")
    ).toPandas()
    if not len(found):
        return NOTHING
    p = np.asarray(calibrate(found["m"].to_numpy(dtype=np.float64)))
    columns = (found[name].to_numpy(dtype=np.float64) for name in ("positives", "g", "rows"))
    return HoldoutScores.of(p, *columns)
