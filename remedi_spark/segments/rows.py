"""Labelled rows of segments under inside names, from a table with a segment column or with several labels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER, ROW_HASH, SNAPSHOT, WEIGHT
from remedi_spark.config.adapt import AdaptConfig
from remedi_spark.errors import InputError
from remedi_spark.progress import warn
from remedi_spark.samples.flat import FlatTable, key_columns, require_column, require_number
from remedi_spark.samples.schema import FeatureContract, infer_features
from remedi_spark.segments.history import SEGMENT
from remedi_spark.spark.names import column
from remedi_spark.spark.partitions import uniform
from remedi_spark.storage.tables import read_table, reads_as_csv

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

NEGATIVES = 500
"""Negatives kept of a segment and snapshot: the others are stood for by their weight."""


@dataclass(frozen=True)
class SegmentTable:
    """Rows: segment, owner_id, snapshot_date, label (0 or 1), weight, row_hash, f0 … fn."""

    rows: DataFrame
    contract: FeatureContract


def read_segments(spark: SparkSession, source: FlatTable, config: AdaptConfig) -> SegmentTable:
    """Read the labelled rows of all segments.

    Raises:
        InputError: a column is missing, neither or both of ``adapt.segment`` and ``adapt.labels`` are set, a label
            is not 0, 1 or null.
    """
    if bool(config.segment) == bool(config.labels):
        raise InputError(
            "configuration adapt: expected exactly one of 'segment' (columns that name a row's segment) and 'labels' "
            "(segment -> SQL condition); set one with --set, for example --set adapt.segment=[brand]"
        )
    used = [*source.roles().values(), *config.segment, *config.drop]
    frame = read_table(spark, source.table, as_text=[source.id], roles=used)
    for name, option in ((source.id, "--id"), (source.time, "--time")):
        if name is not None:
            require_column(frame, name, option, source.table)
    for name in config.drop:
        require_column(frame, name, "adapt.drop", source.table)
    roles = [source.id, *([source.time] if source.time else []), *config.drop]
    segment, label, used = _by_column(frame, source, config) if config.segment else _by_label(frame, source, config)
    features, unusable = infer_features(frame, [*roles, *used])
    if unusable:
        warn("adapt", f"columns of unusable type left out: {', '.join(unusable)}")
    contract = FeatureContract(tuple(features), source.id, source.time)
    if not features:
        raise InputError(f"table {source.table}: no feature left besides id, time, label and segment")
    labelled = frame.select(
        *key_columns(frame, source.id, source.time), segment, label,
        *contract.select(frame, table=source.table, text=reads_as_csv(source.table)),
    )  # fmt: skip
    if config.labels:
        labelled = labelled.withColumns({SEGMENT: F.col("pair.segment"), LABEL: F.col("pair.label")}).drop("pair")
    rows = labelled.where(F.col(LABEL).isNotNull() & F.col(SEGMENT).isNotNull())
    _check_labels(rows, source)
    return SegmentTable(rows, contract)


def _by_column(frame: DataFrame, source: FlatTable, config: AdaptConfig) -> tuple[Column, Column, list[str]]:
    for name in config.segment:
        require_column(frame, name, "adapt.segment", source.table)
    require_column(frame, source.label, "--label", source.table)
    require_number(frame, source.label, "--label", source.table)
    segment = F.concat_ws(" / ", *(column(name).cast("string") for name in config.segment)).alias(SEGMENT)
    known = [column(name).isNotNull() for name in config.segment]
    whole = known[0]
    for one in known[1:]:
        whole = whole & one
    return F.when(whole, segment).alias(SEGMENT), source.label_column().alias(LABEL), [*config.segment, source.label]


def _by_label(frame: DataFrame, source: FlatTable, config: AdaptConfig) -> tuple[Column, Column, list[str]]:
    """Return one (segment, label) pair a label definition, and the columns that the definitions read."""
    pairs = []
    for name, condition in config.labels.items():
        try:
            frame.select(F.expr(condition).cast("boolean"))
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"configuration adapt.labels.{name}: {condition!r} is not a condition ({reason})"
            ) from error
        value = F.expr(condition).cast("boolean").cast("double")
        pairs.append(F.struct(F.lit(name).alias("segment"), value.alias("label")))
    words = set(re.findall(r"\w+", " ".join(config.labels.values())))
    used = [
        name for name in frame.columns if name in words or any(f"`{name}`" in one for one in config.labels.values())
    ]
    # A label definition's own columns tell the label: they are never features.
    return F.explode(F.array(*pairs)).alias("pair"), F.lit(None).cast("double").alias(LABEL), used


def _check_labels(rows: DataFrame, source: FlatTable) -> None:
    odd = rows.where(~F.col(LABEL).isin(0.0, 1.0)).select(SEGMENT, LABEL).head(1)
    if odd:
        raise InputError(
            f"table {source.table}: label {odd[0][1]!r} in segment {odd[0][0]!r}, expected 0, 1 or null in every row"
        )
    null = rows.where(F.col(OWNER).isNull()).select(SEGMENT).head(1)
    if null:
        raise InputError(
            f"table {source.table}: a null id ({source.id}) in segment {null[0][0]!r}; expected an id in each row"
        )


def hashed(rows: DataFrame) -> DataFrame:
    """Add the row's hash, which orders rows and draws samples the same on every run."""
    return rows.withColumn(
        ROW_HASH, F.xxhash64(SEGMENT, F.col(OWNER).cast("string"), F.col(SNAPSHOT).cast("string"), F.lit(0))
    )


def thin_out(rows: DataFrame, negatives: int = NEGATIVES) -> DataFrame:
    """Keep all positives and about ``negatives`` negatives of a segment and snapshot; adds ``weight``."""
    # Counted apart and joined back, so that the wide rows stay where they are.
    counts = rows.where(F.col(LABEL) == 0).groupBy(SEGMENT, SNAPSHOT).agg(F.count("*").alias("__negatives"))
    renamed = counts.withColumnsRenamed({SEGMENT: "__segment", SNAPSHOT: "__snapshot"})
    same = (F.col(SEGMENT) == F.col("__segment")) & F.col(SNAPSHOT).eqNullSafe(F.col("__snapshot"))
    keyed = rows.join(F.broadcast(renamed), same, "left")
    share = F.least(F.lit(1.0), F.lit(float(negatives)) / F.col("__negatives"))
    kept = keyed.where((F.col(LABEL) == 1) | (uniform(ROW_HASH, 0) < share))
    weighted = kept.withColumn(WEIGHT, F.when(F.col(LABEL) == 1, F.lit(1.0)).otherwise(1 / share))
    return weighted.drop("__negatives", "__segment", "__snapshot")
