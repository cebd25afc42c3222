"""Which rows of a ``scores`` table are handed over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT
from remedi_spark.errors import InputError, nearest
from remedi_spark.scoring.scores_schema import NAMES, SCORES
from remedi_spark.storage.tables import read_table

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

LATEST, ALL = "latest", "all"
_FIRST_REASONS = "array<struct<feature:string,value:string,contribution:double>>"


@dataclass(frozen=True)
class Slice:
    """The rows of one scoring run: one snapshot, one model version."""

    snapshot: Any
    model_version: str
    run_id: str
    scored_at: Any
    rows: int


@dataclass(frozen=True)
class Selection:
    """Rows to hand over, in the contract's columns, and the slices that they are made of."""

    rows: DataFrame
    slices: list[Slice]

    @property
    def count(self) -> int:
        """Rows in all."""
        return sum(one.rows for one in self.slices)

    @property
    def timed(self) -> bool:
        """Whether rows carry a snapshot."""
        return self.slices[0].snapshot is not None


def select_scores(spark: SparkSession, table: str, wanted: str = LATEST) -> Selection:
    """Choose rows of a scores table.

    Args:
        spark: the session.
        table: what ``remedi run``, ``scores`` or ``score`` wrote, by path or catalog name.
        wanted: ``latest`` (the last scoring run of the last snapshot), ``all``, or ``DAY[..DAY]`` of snapshots.

    Raises:
        InputError: not a scores table, or no such rows.
    """
    frame = _with_texts(read_table(spark, table))
    _require_contract(frame, table)
    frame = frame.select(*NAMES)
    slices = _slices(frame)
    if not slices:
        raise InputError(f"table {table}: no rows; expected scores to hand over")
    chosen = _choose(slices, wanted, table)
    if len({one.snapshot is None for one in chosen}) > 1:
        raise InputError(f"table {table}: {SNAPSHOT} is null in some rows only; hand the two kinds over one by one")
    if len(chosen) == len(slices):
        return Selection(frame, chosen)
    return Selection(frame.where(_of(chosen, dict(frame.dtypes)[SNAPSHOT])), chosen)


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
    """Order slices from the first to the last; the names decide between two models of one run."""
    return one.snapshot is not None, one.snapshot or 0, one.scored_at, one.model_version, one.run_id


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


def _require_contract(frame: DataFrame, table: str) -> None:
    found = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    for column in SCORES:
        if column.name not in found:
            raise InputError(
                f"table {table}: no column {column.name!r}{nearest(column.name, found)}; expected a table that "
                "remedi run, scores or score wrote"
            )
        if column.type not in ("any", found[column.name]):
            raise InputError(
                f"table {table}: column {column.name!r} is {found[column.name]}, expected {column.type}; was it "
                "written by remedi score (Delta or Parquet)?"
            )


def reasons_as_text(frame: DataFrame) -> DataFrame:
    """Return the frame with ``reasons`` as JSON text, for formats without nested values."""
    text: Column = F.to_json("reasons", {"ignoreNullFields": "false"})
    return frame.withColumn("reasons", text)
