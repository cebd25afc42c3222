"""Two models on the same rows: how far a metric differs, and how closely their ranks agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, SNAPSHOT
from remedi_spark.labels.binned import NO_BLOCK, as_rows, by_block, count_for_intervals
from remedi_spark.labels.measured import Fidelity
from remedi_spark.labels.measures import by_name, owner_number
from remedi_spark.maths.block_bootstrap import around, draw_blocks
from remedi_spark.maths.bootstrap import Difference, paired_bootstrap
from remedi_spark.maths.ranking import ranking_metrics
from remedi_spark.models.contract import Array
from remedi_spark.spark.ranking import add_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import DataFrame


def compare_models(
    rows: DataFrame, pairs: Sequence[tuple[str, str]], k: int, resamples: int, metric: str = "ap", *, many: bool = False
) -> dict[tuple[str, str], Difference]:
    """Return, by pair, a metric of the first less that of the second with its 95 % interval.

    Both are measured on the same resampled owners, so that the interval is of the difference alone. ``many``: as in
    :func:`measure_models`.
    """
    if many:
        return _compare_counts(rows, pairs, k, resamples, metric)
    both = [
        F.struct(
            F.lit(i).alias("pair"), F.col(one).cast("double").alias("one"), F.col(other).cast("double").alias("other")
        )
        for i, (one, other) in enumerate(pairs)
    ]
    long = rows.select(owner_number(), LABEL, F.explode(F.array(*both)).alias("both")).select(OWNER, LABEL, "both.*")

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        owners = frame[OWNER].to_numpy()
        labels, one, other = (frame[name].to_numpy() for name in (LABEL, "one", "other"))
        found = paired_bootstrap(labels, one, other, k, metric, n_resamples=resamples, groups=owners)
        return pd.DataFrame([(frame["pair"].iloc[0], *found)])

    measured = long.groupBy("pair").applyInPandas(work, "pair int, value double, low double, high double").collect()
    # Null: Arrow takes nan for it.
    return {pairs[pair]: Difference(*(math.nan if x is None else x for x in found)) for pair, *found in measured}


def _compare_counts(
    rows: DataFrame, pairs: Sequence[tuple[str, str]], k: int, resamples: int, metric: str
) -> dict[tuple[str, str], Difference]:
    names = {name: F.col(name) for pair in pairs for name in pair}
    counts = count_for_intervals(by_name(rows, "model", names), ["model"], F.col(OWNER))

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        fine = frame["block"] == NO_BLOCK
        labels, scores, weights = as_rows(frame[fine])
        coarse, share = by_block(frame[~fine]), k / float(weights.sum())
        drawn = coarse.resamples(draw_blocks(coarse.rows.shape[1], resamples), metric, share)
        value = ranking_metrics(labels, scores, k, weights)[metric]
        return pd.DataFrame({"model": frame["model"].iloc[:1], "value": [value], "drawn": [drawn.tolist()]})

    schema = "model string, value double, drawn array<double>"
    found = {row["model"]: row for row in counts.groupBy("model").applyInPandas(work, schema).collect()}

    def difference(one: str, other: str) -> Difference:
        first, second = found[one], found[other]
        value = first["value"] - second["value"]
        return Difference(value, *around(value, np.array(first["drawn"]) - np.array(second["drawn"])))

    return {pair: difference(*pair) for pair in pairs}


def fidelity(
    rows: DataFrame, student: str, teacher: str, k: int, *, many: bool = False
) -> tuple[Fidelity, float]:  # fmt: skip
    """Return how closely two score columns agree, and the lowest of the best ``k`` scores of the first.

    One task, two numbers a row; ``many``: ranks by Spark, in which ties are broken by a hash of the owner.
    """
    if many:
        return _compare_ranked(rows, student, teacher, k)

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        found, cut = compare_ranks(frame[student].to_numpy(), frame[teacher].to_numpy(), k)
        return pd.DataFrame({"found": [found.model_dump_json()], "cut": [cut]})

    together = rows.select(student, teacher, F.lit(0).alias("all")).groupBy("all")
    found, cut = together.applyInPandas(work, "found string, cut double").collect()[0]
    return Fidelity.model_validate_json(found), cut


def _compare_ranked(rows: DataFrame, student: str, teacher: str, k: int) -> tuple[Fidelity, float]:
    all_days = F.lit(None).cast("date").alias(SNAPSHOT)
    narrow = rows.select(OWNER, all_days, F.col(student).alias("one"), F.col(teacher).alias("other"))
    ranked = add_rank(narrow, "one").withColumnRenamed("rank", "place").drop("rows")
    one, other = F.col("place"), F.col("rank")
    spearman, both, cut = add_rank(ranked, "other").agg(
        F.corr(one, other), F.count_if((one <= k) & (other <= k)), F.min(F.when(one <= k, F.col("one")))
    ).collect()[0]  # fmt: skip
    return Fidelity(spearman=math.nan if spearman is None else spearman, top_k_overlap=both / k), cut


def compare_ranks(student: Array, teacher: Array, k: int) -> tuple[Fidelity, float]:
    """Return how closely two scores of the same rows, both (rows,), agree, and the lowest of the student's best ``k``.

    Ranks are means for ties; in the top K the first come first.

    Example:
        >>> compare_ranks(np.array([0.1, 0.2, 0.3]), np.array([1.0, 3.0, 2.0]), k=2)
        (Fidelity(spearman=0.5, top_k_overlap=1.0), 0.2)
    """
    one, other = pd.Series(student).rank(), pd.Series(teacher).rank()
    best, top = (np.argsort(-ranked.to_numpy(), kind="stable")[:k] for ranked in (one, other))
    overlap = len({*best.tolist()} & {*top.tolist()}) / k
    return Fidelity(spearman=np.corrcoef(one, other)[0, 1], top_k_overlap=overlap), float(student[best[-1]])
