"""How near a ranking comes to the best possible one, which ranks by the true probability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.errors import InputError
from remedi_spark.spark.kept import kept

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PROBABILITY = "probability"


@dataclass(frozen=True)
class RecallShare:
    """Recall in the top K of one ranking, and of the best possible one, on the same rows."""

    rows: int
    positives: int
    k: int
    recall: float
    best: float

    @property
    def share(self) -> float:
        """Recall as a share of the best possible; nan without positives."""
        return self.recall / self.best if self.best else math.nan


def recall_share(scored: DataFrame, truth: DataFrame, score: str, budget: float) -> RecallShare:
    """Compare the ranking by ``score`` with that by the true probability.

    Args:
        scored: owner_id, snapshot_date, label (0 / 1) and the score.
        truth: owner_id, snapshot_date and probability of a simulated world; every scored row must be in it.
        budget: K as a share of the rows, in (0, 1).

    Note:
        Both rankings are measured by the labels that were drawn. Rows that tie at the edge of the top K count pro rata.
        Only counts and two thresholds reach the driver.
    """
    day = F.to_date(SNAPSHOT).alias(SNAPSHOT)
    true = truth.select(F.col(OWNER).cast("string"), day, PROBABILITY)
    rows = scored.select(OWNER, day, LABEL, F.col(score).alias("score")).join(true, [OWNER, SNAPSHOT], "left")
    with kept(rows) as held:
        return _shares(held, budget)


def _shares(rows: DataFrame, budget: float) -> RecallShare:
    found = rows.agg(F.count("*"), F.sum(LABEL), F.count(PROBABILITY)).first()
    total, positives, known = (int(value or 0) for value in (found or (0, 0, 0)))
    if known != total:
        raise InputError(
            f"truth: {total - known} of {total} scored rows have no true probability; is it another world?"
        )
    k = math.ceil(budget * total)
    top = [_positives_in_top(rows, name, k) for name in ("score", PROBABILITY)]
    recall, best = (count / positives if positives else math.nan for count in top)
    return RecallShare(total, positives, k, recall, best)


def expected_best_recall(truth: DataFrame, budget: float) -> float:
    """Return the recall that ranking by the true probability has on average over all labels that could be drawn."""
    total = truth.count()
    chances = truth.select(F.col(PROBABILITY).alias("score"), F.col(PROBABILITY).alias(LABEL))
    all_positives = chances.agg(F.sum(LABEL)).collect()[0][0]
    return float(_positives_in_top(chances, "score", math.ceil(budget * total)) / all_positives)


def _positives_in_top(rows: DataFrame, score: str, k: int) -> float:
    threshold = rows.select(score).orderBy(F.desc(score)).limit(k).agg(F.min(score)).collect()[0][0]
    at = F.col(score) == threshold
    above = F.col(score) > threshold
    row = rows.agg(
        F.count(F.when(above, 1)), F.sum(F.when(above, F.col(LABEL))),
        F.count(F.when(at, 1)), F.sum(F.when(at, F.col(LABEL))),
    ).collect()[0]  # fmt: skip
    rows_above, positives_above, rows_at, positives_at = (float(value or 0) for value in row)
    return positives_above + (k - rows_above) * positives_at / rows_at
