"""Checks of an incoming table before anything is written: aggregates of the keys and roles, one pass over features."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import functions as F

from remedi_spark.columns import KEY, LABEL, OWNER, SNAPSHOT, WEIGHT
from remedi_spark.errors import InputError
from remedi_spark.samples.extents import Extents, merged
from remedi_spark.samples.flat import FlatTable
from remedi_spark.samples.schema import FeatureContract

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


@dataclass(frozen=True)
class RowFacts:
    """Counts of a checked table; ``constant``: positions of features with one value and no null."""

    rows: int
    labelled: int
    positives: int
    constant: set[int]
    weightless: int = 0
    """Rows of weight 0: they count nowhere."""
    mean_weight: float = 1.0
    """Of the labelled rows that have a weight above 0."""


def check_rows(
    rows: DataFrame, contract: FeatureContract, table: str, source: FlatTable, *, binary: bool,
    needs_no_negatives: str | None = None,
) -> RowFacts:  # fmt: skip
    """Check keys, label (0/1 if ``binary``, else finite and not constant), weight; find constant features.

    ``needs_no_negatives`` names what cannot learn labels below 0, if anything.

    Raises:
        InputError: naming the column, what was found and what was expected.
    """
    found = _aggregate(rows)
    if not found["rows"]:
        raise InputError(f"table {table}: no rows; expected labelled owners")
    _check_keys(found, table, source.id, source.time)
    _check_label(found, table, source.label, binary=binary)
    if needs_no_negatives is not None and found["lowest"] < 0:
        raise InputError(
            f"table {table}: column {source.label!r} (--label) has values below 0 (lowest {found['lowest']:g}), which "
            f"{needs_no_negatives} cannot learn; expected amounts of 0 or more, or another objective"
        )
    if found["bad_weights"]:
        raise InputError(
            f"table {table}: column {source.weight!r} (--weight) has {found['bad_weights']} values that are null, "
            "negative or infinite; expected numbers >= 0"
        )
    if not found["total_weight"]:
        raise InputError(f"table {table}: column {source.weight!r} (--weight) is 0 in every row; expected some above 0")
    refuse_duplicates(rows, table, source.id, source.time)
    constant = _extents(rows, contract).constant(found["rows"])
    mean = found["mean_weight"]
    return RowFacts(
        found["rows"], found["labelled"], found["positives"], constant, found["weightless"] or 0,
        1.0 if mean is None else float(mean),
    )  # fmt: skip


def check_keys(rows: DataFrame, table: str, id_column: str, time: str | None) -> int:
    """Check the keys of a table to score; return its number of rows."""
    found = rows.agg(*_key_counts()).collect()[0].asDict()
    if not found["rows"]:
        raise InputError(f"table {table}: no rows; expected owners to score")
    _check_keys(found, table, id_column, time)
    refuse_duplicates(rows, table, id_column, time)
    return int(found["rows"])


def refuse_duplicates(rows: DataFrame, table: str, id_column: str, time: str | None) -> None:
    """Refuse a table in which an (id, time) stands twice."""
    counts = rows.groupBy(*KEY).count().where("count > 1")
    keys, most = counts.agg(F.count("*"), F.max("count")).collect()[0]
    if keys:
        key = f"({id_column}, {time})" if time else id_column
        hint = "" if time else "; if it has several snapshots an owner, name their column with --time"
        # Without the key itself: messages go to logs, and an id is somebody's.
        many = "one value stands" if keys == 1 else f"{keys} values stand more than once, one of them"
        raise InputError(f"table {table}: {key}: {many} {most} times, expected once each{hint}")


def _count(condition: Column) -> Column:
    return F.sum(condition.cast("long"))


def _key_counts() -> list[Column]:
    return [
        F.count("*").alias("rows"),
        F.coalesce(_count(F.col(OWNER).isNull()), F.lit(0)).alias("null_ids"),
        F.coalesce(_count(F.col(SNAPSHOT).isNull()), F.lit(0)).alias("null_times"),
    ]


def _label_counts() -> list[Column]:
    label = F.col(LABEL)
    return [
        _count(label.isNotNull()).alias("labelled"),
        _count(label == 1).alias("positives"),
        _count(label.isNotNull() & ~label.isin(0.0, 1.0)).alias("not_binary"),
        _count(F.isnan(label) | (F.abs(label) == float("inf"))).alias("not_finite"),
        F.min(F.when(~label.isin(0.0, 1.0), label)).alias("odd_label"),
        F.min(label).alias("lowest"),
        F.max(label).alias("highest"),
    ]


def check_labels(rows: DataFrame, table: str, label: str, *, binary: bool = True) -> None:
    """Check the labels of a table alone (0/1 if ``binary``, else finite and not constant)."""
    found = rows.agg(*_key_counts(), *_label_counts()).collect()[0].asDict()
    if not found["rows"]:
        raise InputError(f"table {table}: no labelled rows; expected labels in column {label!r} (--label)")
    _check_label(found, table, label, binary=binary)


def _aggregate(rows: DataFrame) -> dict[str, Any]:
    label, weight = F.col(LABEL), F.col(WEIGHT)
    bad_weight = weight.isNull() | F.isnan(weight) | (weight < 0) | (weight == float("inf"))
    columns = [
        *_key_counts(),
        *_label_counts(),
        _count(bad_weight).alias("bad_weights"),
        F.sum(weight).alias("total_weight"),
        _count(weight == 0).alias("weightless"),
        F.avg(F.when(label.isNotNull() & (weight > 0), weight)).alias("mean_weight"),
    ]
    found: dict[str, Any] = rows.agg(*columns).collect()[0].asDict()
    return found


def _extents(rows: DataFrame, contract: FeatureContract) -> Extents:
    """Look at all features in one pass: Spark takes minutes to plan aggregates of thousands of columns."""
    columns = contract.columns
    if not columns:
        return Extents(0)

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = Extents(len(columns))
        for batch in batches:
            found.add(batch.columns)
        yield pa.RecordBatch.from_pydict({"found": [found.to_json()]})

    parts = rows.select(*columns).mapInArrow(run, "found string").collect()  # type: ignore[arg-type]
    return merged((part["found"] for part in parts), len(columns))


def _check_keys(found: dict[str, Any], table: str, id_column: str, time: str | None) -> None:
    if found["null_ids"]:
        raise InputError(
            f"table {table}: column {id_column!r} (--id) is null in {found['null_ids']} rows, expected an id in each"
        )
    if time is not None and found["null_times"]:
        raise InputError(
            f"table {table}: column {time!r} (--time) is null or not a time in {found['null_times']} rows; expected "
            "dates or timestamps such as 2026-01-31 or 2026-01-31 12:00:00"
        )


def _check_label(found: dict[str, Any], table: str, label: str, *, binary: bool) -> None:
    where = f"table {table}: column {label!r} (--label)"
    if not found["labelled"]:
        raise InputError(f"{where} is null in every row; expected {'0 or 1' if binary else 'amounts'}")
    if not binary:
        if found["not_finite"]:
            raise InputError(
                f"{where} has {found['not_finite']} values that are not finite numbers; expected amounts, or null "
                "where unknown"
            )
        if found["lowest"] == found["highest"]:
            raise InputError(f"{where} is {found['lowest']:g} in every row; a constant target cannot be learned")
        return
    if found["not_binary"]:
        odd = found["odd_label"]
        shown = "text" if odd is None or math.isnan(odd) else f"{odd:g}"
        raise InputError(
            f"{where} holds values other than 0 and 1 in {found['not_binary']} rows (for example {shown}); "
            "expected 0, 1 or null; for amounts use --task regression"
        )
    if found["positives"] in (0, found["labelled"]):
        only = 0 if not found["positives"] else 1
        raise InputError(f"{where} is {only} in all {found['labelled']} labelled rows; expected both 0 and 1")
