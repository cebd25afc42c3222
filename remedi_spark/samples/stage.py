"""Entry to the chain: checked rows under inside names, from owner features or from any flat table.

Writes ``samples``: owner_id, snapshot_date, label (double, null where unknown), weight, source (``train`` or ``test``),
row_hash, f0 … fn; and ``contract.json``, which keeps the user's names; and ``dictionary.json``, which keeps how reasons
say the features that stage 1 built; and ``warnings.json``, what the user should look at. Weights have mean 1 over the
labelled rows of each source, and rows of weight 0 are left out: only how weights compare means anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F
from pyspark.sql.types import DateType, TimestampType

from remedi_spark.columns import KEY, LABEL, OWNER, ROW_HASH, SNAPSHOT, WEIGHT
from remedi_spark.config import Config
from remedi_spark.config.regression import learner_without_negatives
from remedi_spark.errors import InputError
from remedi_spark.features.dictionary import phrases
from remedi_spark.progress import log, warn
from remedi_spark.samples.checks import RowFacts, check_rows
from remedi_spark.samples.flat import FlatTable, key_columns, require_roles
from remedi_spark.samples.folds import require_positives
from remedi_spark.samples.holdout import holdout_shares
from remedi_spark.samples.leaks import find_leaks
from remedi_spark.samples.overlap import shared_keys, without_keys
from remedi_spark.samples.schema import FeatureContract, infer_features
from remedi_spark.samples.width import kept_unless_wide
from remedi_spark.spark.names import column
from remedi_spark.spark.partitions import row_hash
from remedi_spark.storage.tables import read_table, reads_as_csv
from remedi_spark.storage.workspace import FINAL, WARNINGS, Workspace

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
    frame = read_table(spark, source.table, as_text=[source.id], roles=list(source.roles().values()))
    require_roles(frame, source, source.table)
    frame = _since(frame, config.evaluation.train_from, source)
    features, unusable = infer_features(frame, [*source.roles().values(), *source.ignored])
    if unusable:
        warn("samples", f"columns of unusable type left out: {', '.join(unusable)}")
    contract = FeatureContract(tuple(features), source.id, source.time)
    chosen = _rows(frame, contract, source, source.table, TRAIN)
    with kept_unless_wide(chosen) as read:
        facts, rows = _checked(read, contract, source, config)
        tests = None if source.test is None else _test_frame(workspace, contract, source)
        noted: list[str] = []
        if tests is not None:
            rows, facts, noted = _without_test_rows(rows, facts, tests, contract, source, config)
        _require_enough(rows, facts, source, config)
        contract, rows = _drop_constants(contract, rows, facts.constant, source.table)
        noted += find_leaks(
            rows, contract, labelled=facts.labelled, positives=facts.positives, binary=_binary(config)
        )  # fmt: skip
        for note in noted:
            warn("samples", note)
        rows = _weighted(rows, facts)
        if tests is not None:
            rows = rows.unionByName(_test_rows(tests, contract, source, config))
        # The shuffle makes everything downstream the same however the input was partitioned.
        spread = rows.withColumn(ROW_HASH, row_hash()).repartition(OWNER)
        # A label that is added, or a build from the same events, makes a new owner_features and no new samples.
        if workspace.force or not workspace.tables.holds("samples", spread):
            workspace.tables.replace(spread, "samples")
    workspace.models(FINAL).save("contract", contract.to_dict())
    workspace.models(FINAL).save("dictionary", said or {})
    workspace.models(FINAL).save(WARNINGS, noted)
    positive = f"{facts.positives} positive, " if _binary(config) else ""
    log("samples", f"{facts.rows} rows, {positive}{len(contract.features)} features")
    return SamplesSummary(facts.rows, facts.labelled, facts.positives, len(contract.features))


def from_owner_features(workspace: Workspace, config: Config) -> SamplesSummary:
    """Write ``samples`` from the ``owner_features`` that stage 1 left."""
    tables = workspace.tables
    tables.read("owner_features")  # says which stage to run when it is not there
    said = phrases(tables.read("feature_dictionary")) if tables.exists("feature_dictionary") else {}
    label, others = config.label_columns
    source = FlatTable(tables.location("owner_features"), label, OWNER, SNAPSHOT, ignored=tuple(others))
    return run(workspace, source, config, said)


def from_table(workspace: Workspace, config: Config, *, source: FlatTable) -> SamplesSummary:
    """Write ``samples`` from any flat table."""
    return run(workspace, source, config)


def _binary(config: Config) -> bool:
    return config.task == "classification"


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


def _check(rows: DataFrame, contract: FeatureContract, source: FlatTable, config: Config) -> RowFacts:
    return check_rows(
        rows,
        contract,
        source.table,
        source,
        binary=_binary(config),
        needs_no_negatives=learner_without_negatives(config),
    )


def _checked(
    rows: DataFrame, contract: FeatureContract, source: FlatTable, config: Config
) -> tuple[RowFacts, DataFrame]:
    """Return what checked rows are, and those among them that count."""
    facts = _check(rows, contract, source, config)
    if not facts.weightless:
        return facts, rows
    log("samples", f"table {source.table}: {facts.weightless} rows of weight 0 left out")
    rows = rows.where(F.col(WEIGHT) > 0)
    return _check(rows, contract, source, config), rows


def _weighted(rows: DataFrame, facts: RowFacts) -> DataFrame:
    """Bring the weights to mean 1: penalties and least sizes of learners are in rows' worth.

    In single precision, as boosters keep weights: neither the order of a sum nor the unit is seen in the last digit.
    """
    return rows.withColumn(WEIGHT, (F.col(WEIGHT) / F.lit(facts.mean_weight)).cast("float").cast("double"))


def _require_enough(rows: DataFrame, facts: RowFacts, source: FlatTable, config: Config) -> None:
    """Refuse too few positive owners before anything is written."""
    if not _binary(config):
        return
    owners = facts.positives
    if source.time is not None:
        owners = rows.where(F.col(LABEL) > 0).select(OWNER).distinct().count()
    elif source.test is None:
        owners -= math.ceil(owners / holdout_shares(config.evaluation))  # those that are held out
    require_positives(owners, config.base_models.folds, source.table)


def _test_frame(workspace: Workspace, contract: FeatureContract, source: FlatTable) -> DataFrame:
    assert source.test is not None
    as_text, roles = [source.id, *contract.names], list(source.roles().values())
    frame = read_table(workspace.tables.spark, source.test, as_text=as_text, roles=roles)
    require_roles(frame, replace(source, table=source.test), source.test)
    return frame


def _without_test_rows(
    rows: DataFrame, facts: RowFacts, tests: DataFrame, contract: FeatureContract, source: FlatTable, config: Config
) -> tuple[DataFrame, RowFacts, list[str]]:
    """Take rows that are in the test table too out of the training rows: figures would be of rows learned by heart."""
    keys = tests.select(*key_columns(tests, source.id, source.time))
    shared = shared_keys(keys, rows)
    count = shared.count()
    if not count:
        return rows, facts, []
    if count == facts.rows:
        raise InputError(
            f"--test {source.test}: holds all {count} rows of --table {source.table}; expected rows of other owners or"
            " times, or no --test: a part of the table is then held out"
        )
    rows = without_keys(rows, shared)
    note = f"{count} rows of --test {source.test} are also in --table {source.table}; they are not trained on"
    return rows, _check(rows, contract, source, config), [note]


def _test_rows(frame: DataFrame, contract: FeatureContract, source: FlatTable, config: Config) -> DataFrame:
    assert source.test is not None
    test = replace(source, table=source.test)
    facts, rows = _checked(_rows(frame, contract, test, source.test, TEST), contract, test, config)
    return _weighted(rows, facts)


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
        log("samples", f"constant columns left out: {', '.join(map(repr, names))}")
    kept = [i for i in range(len(contract.features)) if i not in constant]
    if not kept:
        raise InputError(
            f"table {table}: no feature that varies; expected at least one besides id, time, label, weight"
        )
    renamed = [F.col(f"f{old}").alias(f"f{new}") for new, old in enumerate(kept)]
    others = (*KEY, LABEL, WEIGHT, "source")
    return replace(contract, features=tuple(contract.features[i] for i in kept)), rows.select(*others, *renamed)
