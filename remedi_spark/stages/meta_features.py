"""Stage 3: relative features, by Spark window functions.

For a row with model probabilities p_1 … p_M (and their logits l_m) it writes, per model m, ``logit``, ``d`` = p_m −
mean(p), ``dl`` = l_m − mean(l), ``z`` = dl / (σ(l) + ε), ``rank`` (1 = highest, ties by model order), and ``q``, the
global percentile of p_m by a stored quantile grid; with peer columns also ``peer_<column>``, the percent rank among
the owners of the same snapshot and peer group. Per row: ``mean``, ``std`` and ``range`` of the logits.
Source: REMEDI, arXiv 2505.07245 ("deviation from ensemble mean", "rank among peers"; "peers" is ambiguous, so both
readings are built). Departure: z is on logits, where models of rare events differ; on probabilities it is ``zp``.
In a regression p is the predicted amount, and a "logit" is the standardised amount.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from remedi_spark.columns import CARRIED, KEY, LABEL, PART, SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.encoding.contract import FeatureContract
from remedi_spark.errors import InputError, nearest
from remedi_spark.learners.alignment import log_odds
from remedi_spark.progress import say
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.quantiles import quantiles
from remedi_spark.spark.side_by_side import side_by_side
from remedi_spark.splits.holdout import TEST, TRAIN, UNLABELLED
from remedi_spark.tasks import task_of
from remedi_spark.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    Margin = Callable[[Column], Column]

EPSILON = 1e-6
PER_MODEL = ("logit", "d", "dl", "z", "zp", "rank", "q")
PER_ROW = ("mean", "std", "range")


def run(workspace: Workspace, config: Config) -> list[str]:
    """Write ``meta_features`` of every phase; return the phases."""
    facts = workspace.models(FINAL).load("phases")
    contract = FeatureContract.from_dict(workspace.models(FINAL).load("contract"))
    peers = _peer_columns(config.meta_features.peers, contract)
    own_test = facts["measured_phase"] == FINAL

    def write(phase: str) -> None:
        models = facts["phases"][phase]["models"]
        predictions = workspace.read(phase, "oof_predictions")
        if peers:
            levels = _levels(workspace.tables.read("samples"), peers, own_test=own_test)
            predictions = join_rows(predictions, levels, "left")
        train = predictions.where(F.col(PART) == TRAIN)
        grids = quantile_grids(train, models, config.meta_features.grid, facts["phases"][phase]["rows"])
        workspace.models(phase).save("quantile_grids", grids)
        margin = task_of(config, workspace.models(phase)).margin
        workspace.write(phase, "meta_features", relative_features(predictions, models, grids, peers, margin))
        say("meta-features", f"{phase}: {len(meta_columns(models, peers))} columns")

    phases = list(facts["phases"])
    side_by_side(write, phases)
    return phases


def meta_columns(models: list[str], peers: dict[str, str] | tuple[str, ...] = ()) -> list[str]:
    """Names of the columns that :func:`relative_features` adds, in order."""
    per_model = [f"{kind}_{m}" for kind in PER_MODEL for m in models]
    return [*per_model, *PER_ROW, *[f"peer_{name}_{m}" for name in peers for m in models]]


def relative_features(
    predictions: DataFrame, models: list[str], grids: dict[str, list[float]], peers: dict[str, str],
    margin: Margin = log_odds,
) -> DataFrame:  # fmt: skip
    """Return key columns and the relative features of wide predictions (one score column a model).

    ``margin`` turns a score into its margin: the log-odds of a probability, or a standardised amount.
    """
    long = _across_models(_long(predictions, models, peers, margin))
    for name, column in peers.items():
        group = Window.partitionBy("model", SNAPSHOT, column).orderBy("p")
        long = long.withColumn(f"peer_{name}", F.percent_rank().over(group))
    values = [*PER_MODEL[:-1], *[f"peer_{name}" for name in peers]]
    picked = [
        F.max(F.when(F.col("model") == i, F.col(value))).alias(f"{value}_{m}")
        for value in values
        for i, m in enumerate(models)
    ]
    shared = [F.first(kind).alias(kind) for kind in PER_ROW]
    probabilities = [F.max(F.when(F.col("model") == i, F.col("p"))).alias(m) for i, m in enumerate(models)]
    wide = long.groupBy(*CARRIED).agg(*picked, *shared, *probabilities)
    percentiles = {f"q_{m}": _percentile(grids[m])(F.col(m)) for m in models}
    return wide.withColumns(percentiles).select(*CARRIED, *meta_columns(models, peers))


def quantile_grids(train: DataFrame, models: list[str], points: int, rows: int) -> dict[str, list[float]]:
    """Return each model's quantiles on training rows (about ``rows``), the same for whatever batch is scored later."""
    return dict(zip(models, quantiles(train, models, [i / points for i in range(points + 1)], rows), strict=True))


def _long(predictions: DataFrame, models: list[str], peers: dict[str, str], margin: Margin) -> DataFrame:
    each = [
        F.struct(F.lit(i).alias("model"), F.col(m).alias("p"), margin(F.col(m)).alias("logit"))
        for i, m in enumerate(models)
    ]
    exploded = predictions.select(*CARRIED, *peers.values(), F.explode(F.array(*each)).alias("one"))
    return exploded.select(*CARRIED, *peers.values(), "one.*")


def _across_models(long: DataFrame) -> DataFrame:
    """Deviation, z-score and rank of each model among the models of the same row."""
    row = Window.partitionBy(*KEY, PART)
    # σ of equal predictions is not exactly 0 in floating point; below ε it is noise and z must be 0.
    std, std_p = F.stddev_pop("logit").over(row), F.stddev_pop("p").over(row)
    by_score = row.orderBy(F.desc("p"), "model")
    return long.withColumns(
        {
            "mean": F.avg("logit").over(row),
            "std": std,
            "range": F.max("logit").over(row) - F.min("logit").over(row),
            "d": F.col("p") - F.avg("p").over(row),
            "dl": F.col("logit") - F.avg("logit").over(row),
            "z": (F.col("logit") - F.avg("logit").over(row)) / (std + EPSILON),
            "zp": (F.col("p") - F.avg("p").over(row)) / (std_p + EPSILON * F.abs(F.avg("p").over(row)) + 1e-300),
            "rank": F.row_number().over(by_score).cast("double"),
        }
    )


def _percentile(grid: list[float]) -> Callable[[Column], Column]:
    """Return the share of the grid below or at a value, halfway through its ties; by binary search."""
    points = np.asarray(grid)

    @pandas_udf("double")  # type: ignore[call-overload, untyped-decorator]
    def percentile(values: pd.Series) -> pd.Series:
        below, upto = (np.searchsorted(points, values, side) for side in ("left", "right"))
        return pd.Series((below + upto) / (2 * len(points)))

    return percentile  # type: ignore[no-any-return]


def _levels(samples: DataFrame, peers: dict[str, str], *, own_test: bool) -> DataFrame:
    """Return the peer groups of every row; with a test table of its own an owner may stand in both."""
    levels = samples.select(*KEY, *peers.values(), "source", LABEL)
    if own_test:
        known = F.when(F.col(LABEL).isNull(), F.lit(UNLABELLED)).otherwise(F.lit(TRAIN))
        levels = levels.withColumn(PART, F.when(F.col("source") == TEST, F.lit(TEST)).otherwise(known))
    return levels.drop("source", LABEL)


def _peer_columns(names: tuple[str, ...], contract: FeatureContract) -> dict[str, str]:
    for name in names:
        if name not in contract.names:
            raise InputError(f"meta_features.peers: no feature {name!r}{nearest(name, contract.names)}")
    return {name: contract.columns[contract.names.index(name)] for name in names}
