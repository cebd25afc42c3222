"""The user's Parquet files, whoever wrote them.

Footers of local files are looked at first, so that every column is asked for in a type that Spark can read, and what it
cannot read is named. Dates before 1582 of writers that are not Spark are taken as written; those of old Sparks, which
say so in the file, are converted by Spark. Remote files are left to Spark's own reading of footers.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pyspark.sql import functions as F
from pyspark.sql import types as t

from remedi_spark.errors import InputError
from remedi_spark.progress import warn
from remedi_spark.reading.column_notes import INDEX, notes, unique_names
from remedi_spark.reading.parquet_types import ColumnPlan, column_plans, common_type, converted
from remedi_spark.reading.paths import (
    data_files,
    is_remote,
    kind_of_file,
    local_path,
    partition_values,
    partitions,
)  # fmt: skip
from remedi_spark.spark.literal_paths import literally
from remedi_spark.spark.local_rows import local_rows
from remedi_spark.spark.names import column
from remedi_spark.spark.partitions import slots
from remedi_spark.spark.schemas import data_type

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

ENDINGS = (".parquet", ".parq", ".pq")
AS_WRITTEN = {"datetimeRebaseMode": "CORRECTED", "int96RebaseMode": "CORRECTED"}
"""Options of a reader, so that no setting of the session is touched."""
_READERS = 16


@dataclass(frozen=True)
class _File:
    path: Path
    plans: tuple[ColumnPlan, ...]
    row_groups: int
    index: tuple[str, ...]


def read_parquet(
    spark: SparkSession, table: str, *, roles: Collection[str] = (), only: Sequence[str] | None = None
) -> DataFrame:
    """Read a Parquet file or a folder of them, also one with columns in its folders' names (``region=North``).

    Args:
        spark: the session.
        table: path or address.
        roles: columns that must be there; one of them that cannot be read is refused, others are left out.
        only: some files of the table, as Spark's ``inputFiles`` names them; None: all.

    Raises:
        InputError: no file, one that is no Parquet, or files that do not fit together.
    """
    if is_remote(table):
        return _remote(spark, table, only)
    base = local_path(table)
    paths = data_files(base, ENDINGS) if only is None else [local_path(one) for one in only]
    if not paths:
        raise InputError(f"table {table}: cannot be read: the folder holds no Parquet file; check the path")
    with ThreadPoolExecutor(_READERS) as pool:
        files = list(pool.map(_look, paths))
    folder = base if base.is_dir() else base.parent
    parts = partitions([str(path) for path in paths], str(folder)) if base.is_dir() else {}
    files = [replace(one, plans=tuple(p for p in one.plans if p.name not in parts)) for one in files]
    _refuse_unreadable(table, files, roles)
    columns = _columns(table, files)
    names = unique_names([*columns, *parts], roles)
    inner = dict(zip([*columns, *parts], names, strict=True))
    whole = base.is_file() or (only is None and len(paths) == sum(1 for _ in _seen_by_spark(base)))
    groups = _groups(files)
    frames = [
        _read_group(spark, group, [str(base)] if whole and len(groups) == 1 else None, folder, columns, parts, inner)
        for group in groups
    ]
    return reduce(lambda one, other: one.unionByName(other), frames)


def _seen_by_spark(base: Path) -> Iterator[Path]:
    return iter(data_files(base, ("",)))


@cache
def _spark_type(text: str) -> t.DataType:
    """Return a type by its name; each is parsed by the JVM, and a wide table has few of them."""
    found: t.DataType = data_type(text)
    return found


def _remote(spark: SparkSession, table: str, only: Sequence[str] | None) -> DataFrame:
    reader = spark.read.options(**AS_WRITTEN)
    if only is not None:
        return reader.option("basePath", table).parquet(*only)
    frame = reader.parquet(table)
    parts = partitions(frame.inputFiles(), "")
    typed = [t.StructField(f.name, _spark_type(parts[f.name])) if f.name in parts else f for f in frame.schema.fields]
    if typed == frame.schema.fields:
        return frame
    return spark.read.options(**AS_WRITTEN).schema(t.StructType(typed)).parquet(table)


def _look(path: Path) -> _File:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _refuse_other_kind(path)
    try:
        with pq.ParquetFile(path) as parquet:
            pandas = json.loads((parquet.schema_arrow.metadata or {}).get(b"pandas", b"{}"))
            stored = [one for one in pandas.get("index_columns", ()) if isinstance(one, str)]
            return _File(path, tuple(column_plans(parquet)), parquet.metadata.num_row_groups, tuple(stored))
    except (pa.ArrowException, OSError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"table {path}: cannot be read as Parquet ({first}); it may have been cut off while it was copied or"
            " written: write it again"
        ) from error


def _refuse_other_kind(path: Path) -> None:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(16)
            file.seek(max(0, size - 4))
            tail = file.read(4)
    except OSError as error:
        raise InputError(
            f"table {path}: cannot be opened ({error.strerror or error}); check its permissions"
        ) from error
    if not size:
        raise InputError(f"table {path}: the file is empty; expected Parquet; write it again")
    if not head.startswith(b"PAR"):
        kind = kind_of_file(head) or ("text, perhaps CSV" if head.isascii() else "something else")
        raise InputError(
            f"table {path}: is {kind}, not Parquet as its name or its folder says; rename it or write it as Parquet"
        )
    if head.startswith(b"PARE") or tail == b"PARE":
        raise InputError(f"table {path}: is encrypted Parquet, which cannot be read; write it without encryption")
    if tail != b"PAR1":
        raise InputError(f"table {path}: the Parquet file is cut off (no footer at its end); copy or write it again")


def _refuse_unreadable(table: str, files: list[_File], roles: Collection[str]) -> None:
    left = {plan.name: plan for one in files for plan in one.plans if plan.how == "left out"}
    for name, plan in left.items():
        if name in roles:
            raise InputError(
                f"table {table}: column {name!r} is of type {plan.found}, which cannot be read; write it as text, a"
                " number, a date or a timestamp"
            )
    if left:
        named = ", ".join(f"{name} ({plan.found})" for name, plan in left.items())
        warn("table", f"{table}: columns of a type that cannot be read left out: {named}")


def _columns(table: str, files: list[_File]) -> dict[str, str]:
    """Return Spark's type of each column of the table, over all files."""
    columns: dict[str, tuple[str, Path]] = {}
    for one in files:
        names = [plan.name for plan in one.plans]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"table {one.path}: has two columns named {twice!r}; give each column its own name")
        for plan in one.plans:
            if plan.how == "left out":
                continue
            first, where = columns.get(plan.name, (plan.result, one.path))
            both = common_type(first, plan.result)
            if both is None:
                raise InputError(
                    f"table {table}: column {plan.name!r} is of type {first} in {where.name} and of type {plan.result}"
                    f" in {one.path.name}; write all files with the same type"
                )
            columns[plan.name] = both, where
    if not columns:
        raise InputError(f"table {table}: has no column that can be read")
    return {name: kind for name, (kind, _) in columns.items()}


def _groups(files: list[_File]) -> list[list[_File]]:
    groups: dict[tuple[ColumnPlan, ...], list[_File]] = {}
    for one in files:
        groups.setdefault(one.plans, []).append(one)
    return list(groups.values())


def _read_group(
    spark: SparkSession, group: list[_File], whole: list[str] | None, folder: Path, columns: dict[str, str],
    parts: dict[str, str], inner: dict[str, str],
) -> DataFrame:  # fmt: skip
    """Read files of the same columns, in the columns of the whole table under their names inside."""
    plans = {plan.name: plan for plan in group[0].plans if plan.how != "left out"}
    odd = any(plan.by_arrow for plan in group[0].plans) or set(inner) != set(inner.values())
    if odd:
        frame = _through_arrow(spark, group, folder, list(plans.values()), parts)
    else:
        schema = t.StructType(
            [t.StructField(one.name, _spark_type(one.data_type)) for one in plans.values()]
            + [t.StructField(name, _spark_type(kind)) for name, kind in parts.items()]
        )
        reader = spark.read.options(**AS_WRITTEN).schema(schema)
        if whole is None:
            reader, whole = reader.option("basePath", str(folder)), [str(one.path) for one in group]
        reader, whole = literally(reader, spark, whole)
        frame = reader.parquet(*whole)
    places = dict(zip([*plans, *parts], frame.columns, strict=True))
    index = {name for one in group for name in one.index}
    chosen = []
    for name, kind in [*columns.items(), *parts.items()]:
        value = column(places[name]) if name in places else F.lit(None)
        plan = plans.get(name)
        value = converted(plan, value) if plan is not None and not odd else value
        if kind != (plan.result if plan else "") and name not in parts:
            value = value.cast(kind)
        more = notes(name, inner[name], **{INDEX: name in index})
        chosen.append(value.alias(inner[name], metadata=more) if more else value.alias(inner[name]))
    plain = all(plan.how == "plain" for plan in plans.values()) and list(places) == [*columns, *parts]
    same = not odd and not index and plain and all(plans[name].result == kind for name, kind in columns.items())
    return frame if same else frame.select(*chosen)


def _through_arrow(
    spark: SparkSession, group: list[_File], folder: Path, plans: list[ColumnPlan], parts: dict[str, str]
) -> DataFrame:
    """Read by pyarrow in Spark's tasks, a row group each, into columns c0 … cn: values as :func:`converted` leaves."""
    tasks = [
        {"file": str(one.path), "row_group": number, "parts": partition_values(str(one.path), str(folder))}
        for one in group
        for number in range(one.row_groups)
    ]
    kinds = ["int" if plan.how == "null" else plan.result for plan in plans]
    schema = ", ".join(f"c{i} {kind}" for i, kind in enumerate([*kinds, *("string" for _ in parts)]))
    rows = local_rows(spark, tasks, "file string, row_group int, parts map<string, string>")
    rows = rows.repartition(max(1, min(len(tasks), 4 * slots(spark))))
    frame = rows.mapInArrow(_reader([plan.name for plan in plans], list(parts), _arrow_types(schema)), schema)
    typed = [
        F.col(f"c{len(plans) + i}").cast(kind).alias(f"c{len(plans) + i}") for i, kind in enumerate(parts.values())
    ]
    return frame.select(*(f"c{i}" for i in range(len(plans))), *typed)


def _arrow_types(schema: str) -> pa.Schema:
    from pyspark.sql.pandas.types import to_arrow_schema

    return to_arrow_schema(cast("t.StructType", _spark_type(schema)))


def _reader(
    names: list[str], parts: list[str], schema: pa.Schema
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """Return what reads row groups in a task; it captures names and types alone."""
    from remedi_spark.reading.arrow_values import read_row_group

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for task in batch.to_pylist():
                yield from read_row_group(task["file"], task["row_group"], names, dict(task["parts"]), parts, schema)

    return run
