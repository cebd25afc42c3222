"""Which rows of a published table are handed over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT
from remedi_spark.errors import InputError, nearest
from remedi_spark.storage.table_contract import TableContract
from remedi_spark.storage.tables import read_table

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

LATEST, ALL = "latest", "all"
_FIRST_REASONS = "array<struct<feature:string,value:string,contribution:double>>"


@dataclass(frozen=True)
class Slice:
    """The rows of one run: one snapshot, one model version."""

    snapshot: Any
    model_version: str
    run_id: str
    scored_at: Any
    rows: int


@dataclass(frozen=True)
class Selection:
    """Rows to hand over, in the contract's columns, the slices that they are made of, and the contract."""

    rows: DataFrame
    slices: list[Slice]
    contract: TableContract

    @property
    def count(self) -> int:
        """Rows in all."""
        return sum(one.rows for one in self.slices)

    @property
    def timed(self) -> bool:
        """Whether rows carry a snapshot."""
        return self.slices[0].snapshot is not None


def select_rows(spark: SparkSession, table: str, contract: TableContract, wanted: str = LATEST) -> Selection:
    """Choose rows of a published table.

    Args:
        spark: the session.
        table: path or catalog name.
        contract: what it is to be.
        wanted: ``latest`` (the last run of the last snapshot), ``all``, or ``DAY[..DAY]`` of snapshots.

    Raises:
        InputError: not such a table, or no such rows.
    """
    frame = _with_texts(read_table(spark, table))
    _require_contract(frame, table, contract)
    frame = frame.select(*contract.names)
    slices = _slices(frame)
    if not slices:
        raise InputError(f"table {table}: no rows; expected {contract.name} to hand over")
    chosen = _choose(slices, wanted, table)
    if len({one.snapshot is None for one in chosen}) > 1:
        raise InputError(f"table {table}: {SNAPSHOT} is null in some rows only; hand the two kinds over one by one")
    _require_slices(chosen, table, contract)
    if len(chosen) == len(slices):
        return Selection(frame, chosen, contract)
    return Selection(frame.where(_of(chosen, dict(frame.dtypes)[SNAPSHOT])), chosen, contract)


def _require_slices(chosen: list[Slice], table: str, contract: TableContract) -> None:
    """Refuse rows whose snapshot, model or run is not known: nothing could tell them from others' in the target."""
    for name in (SNAPSHOT, "model_version", "run_id", "scored_at"):
        lacking = [one for one in chosen if getattr(one, name.replace("_date", "")) is None]
        if lacking and not contract.nullable[name]:
            raise InputError(
                f"table {table}: {name} is null in {sum(one.rows for one in lacking)} rows, expected a value in each;"
                " remove these rows, or choose others with --snapshot"
            )


def _of(slices: list[Slice], kind: str) -> Column:
    """Return the condition of rows of the slices: one run, and one model, may have scored other snapshots as well."""
    snapshots: dict[tuple[str, str], list[Any]] = {}
    for one in slices:
        snapshots.setdefault((one.model_version, one.run_id), []).append(one.snapshot)
    found = [
        (F.col("model_version") == version) & (F.col("run_id") == run) & _at(days, kind)
        for (version, run), days in snapshots.items()
    ]
    return reduce(or_, found)


def _at(snapshots: list[Any], kind: str) -> Column:
    if snapshots[0] is None:  # then all are: the caller has refused a mixture
        return F.col(SNAPSHOT).isNull()
    # A time without a zone would pass through the zone of this process as a literal.
    return F.col(SNAPSHOT).isin([F.lit(str(one)).cast(kind) if kind == "timestamp_ntz" else one for one in snapshots])


def _slices(frame: DataFrame) -> list[Slice]:
    keys = (SNAPSHOT, "model_version", "run_id")
    found = frame.groupBy(*keys).agg(F.max("scored_at").alias("scored_at"), F.count("*").alias("rows")).collect()
    slices = [Slice(row[0], row[1], row[2], row["scored_at"], row["rows"]) for row in found]
    return sorted(slices, key=_age)


def _age(one: Slice) -> tuple[Any, ...]:
    """Order slices from the first to the last, nulls first; the names decide between two models of one run."""
    parts = (one.snapshot, one.scored_at, one.model_version, one.run_id)
    return tuple(found for part in parts for found in (part is not None, 0 if part is None else part))


def _choose(slices: list[Slice], wanted: str, table: str) -> list[Slice]:
    if wanted == ALL:
        return slices
    if wanted == LATEST:
        return slices[-1:]
    first, _, last = wanted.partition("..")
    try:
        low, high = date.fromisoformat(first), date.fromisoformat(last or first)
    except ValueError as error:
        raise InputError(f"--snapshot {wanted}: expected latest, all, a day, or two of them as DAY..DAY") from error
    chosen = [one for one in slices if isinstance(one.snapshot, date) and low <= _day(one.snapshot) <= high]
    if not chosen:
        days = sorted({str(one.snapshot) for one in slices})
        raise InputError(f"--snapshot {wanted}: no such snapshot in {table}; it has {days[0]} to {days[-1]}")
    return chosen


def _day(value: Any) -> date:
    day: date = value.date() if hasattr(value, "date") else value
    return day


def _with_texts(frame: DataFrame) -> DataFrame:
    """Return scores that version 1.0 of the contract wrote as those of the present one: reasons without a text."""
    if dict(frame.dtypes).get("reasons") != _FIRST_REASONS:
        return frame
    none = F.lit(None).cast("string")
    return frame.withColumn("reasons", F.transform("reasons", lambda one: one.withField("text", none)))


def _require_contract(frame: DataFrame, table: str, contract: TableContract) -> None:
    found = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    for column in contract.columns:
        if column.name not in found:
            raise InputError(
                f"table {table}: no column {column.name!r}{nearest(column.name, found)}; expected {contract.expected}"
            )
        if column.type not in ("any", found[column.name]):
            raise InputError(
                f"table {table}: column {column.name!r} is {found[column.name]}, expected {column.type}; is it "
                f"{contract.expected}, in Delta or Parquet?"
            )


def reasons_as_text(frame: DataFrame) -> DataFrame:
    """Return the frame with ``reasons``, where there are any, as JSON text, for formats without nested values."""
    if "reasons" not in frame.columns:
        return frame
    text: Column = F.to_json("reasons", {"ignoreNullFields": "false"})
    return frame.withColumn("reasons", text)
