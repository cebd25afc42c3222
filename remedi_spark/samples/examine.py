"""What the doctor finds in a table whose label and id are named: roles, positive owners, features that leak."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, OWNER
from remedi_spark.errors import InputError
from remedi_spark.findings import Finding
from remedi_spark.samples.checks import check_labels
from remedi_spark.samples.flat import FlatTable, require_column, require_number
from remedi_spark.samples.folds import MIN_POSITIVE_OWNERS
from remedi_spark.samples.leaks import find_leaks
from remedi_spark.samples.schema import FeatureContract, infer_features
from remedi_spark.spark.names import column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config import Config


def examine_roles(
    frame: DataFrame, config: Config, table: str, label: str | None, id_: str | None
) -> Iterator[Finding]:
    """Return what is found of the columns that were named; a role that cannot be filled is a failure."""
    good = True
    for name, option in ((label, "--label"), (id_, "--id")):
        if name is None:
            continue
        try:
            require_column(frame, name, option, table)
            if option == "--label":
                require_number(frame, name, option, table)
        except InputError as error:
            good = False
            yield Finding("fail", option.removeprefix("--"), str(error))
    if good and label is not None:
        yield from _labels(frame, config, table, label, id_)


def _labels(frame: DataFrame, config: Config, table: str, label: str, id_: str | None) -> Iterator[Finding]:
    binary = config.task == "classification"
    owner = F.monotonically_increasing_id() if id_ is None else column(id_)
    features, _ = infer_features(frame, [name for name in (label, id_) if name is not None])
    contract = FeatureContract(tuple(features), id_ or OWNER)
    source = FlatTable(table, label, id_ or OWNER)
    inside = contract.select(frame, table=table)
    rows = frame.select(owner.alias(OWNER), source.label_column().alias(LABEL), *inside)
    labelled = rows.where(F.col(LABEL).isNotNull())
    try:
        check_labels(labelled.withColumn("snapshot_date", F.lit(None).cast("date")), table, label, binary=binary)
    except InputError as error:
        yield Finding("fail", "label", str(error))
        return
    positive = labelled.where(F.col(LABEL) > 0).agg(F.countDistinct(OWNER), F.count("*")).collect()[0]
    if binary:
        yield _enough(int(positive[0]), config.base_models.folds)
    leaks = find_leaks(rows, contract, labelled=labelled.count(), positives=int(positive[1]), binary=binary)
    for sentence in leaks:
        yield Finding("warn", "feature", sentence)


def _enough(owners: int, folds: int) -> Finding:
    fitting = owners // MIN_POSITIVE_OWNERS
    found = f"{owners:,} for {folds} folds"
    if owners >= folds * MIN_POSITIVE_OWNERS:
        return Finding("ok", "positive owners", found)
    fix = f"--set base_models.folds={fitting}" if fitting > 1 else f"at least {2 * MIN_POSITIVE_OWNERS} are needed"
    return Finding("fail", "positive owners", found, fix)
