"""Entry to the chain: checked rows under inside names, from owner features or from any flat table.

Writes ``samples``: owner_id, snapshot_date, label (double, null where unknown), weight, source (``train`` or ``test``),
row_hash, f0 … fn; and ``contract.json``, which keeps the user's names; and ``dictionary.json``, which keeps how reasons
say the features that stage 1 built.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, TimestampType

from remedi_spark.columns import KEY, LABEL, OWNER, ROW_HASH, SNAPSHOT, WEIGHT
from remedi_spark.config import Config
from remedi_spark.encoding.contract import FeatureContract, column, infer_features
from remedi_spark.errors import InputError
from remedi_spark.features.dictionary import phrases
from remedi_spark.progress import say, warn
from remedi_spark.sources.checks import RowFacts, check_rows
from remedi_spark.sources.flat import FlatTable, key_columns, require_roles
from remedi_spark.spark.partitions import row_hash
from remedi_spark.spark.tables import read_table, reads_as_csv
from remedi_spark.tasks import Task, task_of
from remedi_spark.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class SamplesSummary:
    """What entered the chain."""

    rows: int
    labelled: int
    positives: int
    features: int


def run(
    workspace: Workspace, source: FlatTable, config: Config, said: dict[str, dict[str, Any]] | None = None
) -> SamplesSummary:
    """Check a flat table (and its test table), infer the features and write ``samples``.

    ``said`` is how reasons say the features, as far as they are not said by their names.

    Raises:
        InputError: whatever is wrong with the table; nothing is written then.
    """
    spark = workspace.tables.spark
    task = task_of(config, workspace.models(FINAL))
    frame = read_table(spark, source.table, as_text=[source.id], roles=list(source.roles().values()))
    require_roles(frame, source, source.table)
    frame = _since(frame, config.evaluation.train_from, source)
    features, unusable = infer_features(frame, list(source.roles().values()))
    if unusable:
        warn("samples", f"columns of unusable type left out: {', '.join(unusable)}")
    contract = FeatureContract(tuple(features), source.id, source.time)
    rows = _rows(frame, contract, source, source.table, TRAIN).persist(StorageLevel.DISK_ONLY)
    try:
        facts = _check(rows, contract, source, task)
        contract, rows = _drop_constants(contract, rows, facts.constant, source.table)
        if source.test is not None:
            rows = rows.unionByName(_test_rows(workspace, contract, source, task))
        # The shuffle makes everything downstream the same however the input was partitioned.
        spread = rows.withColumn(ROW_HASH, row_hash()).repartition(OWNER)
        workspace.tables.overwrite(spread, "samples")
    finally:
        rows.unpersist()
    workspace.models(FINAL).save("contract", contract.to_dict())
    workspace.models(FINAL).save("dictionary", said or {})
    positive = f"{facts.positives} positive, " if task.binary else ""
    say("samples", f"{facts.rows} rows, {positive}{len(contract.features)} features")
    return SamplesSummary(facts.rows, facts.labelled, facts.positives, len(contract.features))


def from_owner_features(workspace: Workspace, config: Config) -> SamplesSummary:
    """Write ``samples`` from the ``owner_features`` that stage 1 left."""
    tables = workspace.tables
    tables.read("owner_features")  # says which stage to run when it is not there
    said = phrases(tables.read("feature_dictionary")) if tables.exists("feature_dictionary") else {}
    return run(workspace, FlatTable(tables.location("owner_features"), LABEL, OWNER, SNAPSHOT), config, said)


def _since(frame: DataFrame, first: date | None, source: FlatTable) -> DataFrame:
    """Leave out the snapshots before the first that is trained on."""
    if first is None:
        return frame
    if source.time is None:
        raise InputError("evaluation.train_from: set, but the table has no time column; name it with --time")
    time, kind = column(source.time), frame.schema[source.time].dataType
    if not isinstance(kind, DateType | TimestampType):
        raise InputError(
            f"evaluation.train_from: {source.time} of {source.table} is of type {kind.simpleString()}, expected a date"
            " or a timestamp"
        )
    kept = frame.where(time.isNull() | (time >= F.lit(first)))
    if kept.isEmpty():
        raise InputError(
            f"evaluation.train_from: {first} is later than every {source.time} of {source.table}; give an earlier day"
        )
    return kept


def _check(rows: DataFrame, contract: FeatureContract, source: FlatTable, task: Task) -> RowFacts:
    return check_rows(
        rows, contract, source.table, source, binary=task.binary, needs_no_negatives=task.needs_no_negatives()
    )


def _test_rows(workspace: Workspace, contract: FeatureContract, source: FlatTable, task: Task) -> DataFrame:
    assert source.test is not None
    as_text, roles = [source.id, *contract.names], list(source.roles().values())
    frame = read_table(workspace.tables.spark, source.test, as_text=as_text, roles=roles)
    test = replace(source, table=source.test)
    require_roles(frame, test, source.test)
    rows = _rows(frame, contract, test, source.test, TEST)
    _check(rows, contract, test, task)
    return rows


def _rows(frame: DataFrame, contract: FeatureContract, source: FlatTable, table: str, part: str) -> DataFrame:
    return frame.select(
        *key_columns(frame, source.id, source.time),
        source.label_column().alias(LABEL),
        source.weight_column().alias(WEIGHT),
        F.lit(part).alias("source"),
        *contract.select(frame, table=table, text=reads_as_csv(table)),
    )


def _drop_constants(
    contract: FeatureContract, rows: DataFrame, constant: set[int], table: str
) -> tuple[FeatureContract, DataFrame]:
    """Leave out features with one value and no null; renumber the others."""
    names = [contract.names[i] for i in sorted(constant)]
    if names:
        say("samples", f"constant columns left out: {', '.join(map(repr, names))}")
    kept = [i for i in range(len(contract.features)) if i not in constant]
    if not kept:
        raise InputError(
            f"table {table}: no feature that varies; expected at least one besides id, time, label, weight"
        )
    renamed = [F.col(f"f{old}").alias(f"f{new}") for new, old in enumerate(kept)]
    others = (*KEY, LABEL, WEIGHT, "source")
    return replace(contract, features=tuple(contract.features[i] for i in kept)), rows.select(*others, *renamed)
