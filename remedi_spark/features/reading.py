"""The declared tables as they are stored: read, with the columns of their dimensions joined.

CSV files have no types: ids and codes whose other side is text are read as text and keep their zeros.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as T

from remedi_spark.errors import InputError
from remedi_spark.features.expressions import column, require
from remedi_spark.features.nested import check_json, with_nested
from remedi_spark.spark.names import quoted
from remedi_spark.storage.tables import is_csv, read_table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.config.features import FeaturesConfig
    from remedi_spark.config.sources import Attributes, Join, Location, Source

ReadNested = Callable[["DataFrame", "Source", str], "DataFrame"]
"""Adds nested columns to the rows of a source, as :func:`with_nested` does."""


def read_tables(
    spark: SparkSession, config: FeaturesConfig, frames: Mapping[str, DataFrame], nested: ReadNested = with_nested
) -> dict[str, DataFrame]:
    """Return all sources and attributes by name, those in ``frames`` as they are; ``nested`` adds nested columns."""
    found = dict(frames)
    declared: dict[str, Source | Attributes] = {**config.sources, **config.attributes}
    # CSV files last: their ids are read as those of the other tables are.
    wanted = [name for name in declared if name not in found]
    for name in sorted(wanted, key=lambda name: csv_location(declared[name])):
        table, as_text = declared[name], set[str]()
        if csv_location(table):
            typed = {other: frame for other, frame in found.items() if not csv_location(declared[other])}
            as_text = text_columns(config, name, typed)
        if name in config.attributes:
            found[name] = read_location(spark, table, f"features.attributes.{name}", as_text)
        else:
            found[name] = read_source(spark, config.sources[name], f"features.sources.{name}", as_text, nested)
    return {name: found[name] for name in declared}


def read_location(spark: SparkSession, location: Location, where: str, as_text: Collection[str] = ()) -> DataFrame:
    """Read a path, a catalog table or a file of an installed package; ``where`` names the key in errors.

    ``as_text`` are columns that stay text in a CSV file.
    """
    if location.package is not None:
        return read_table(spark, str(package_file(location.package, where)))
    return read_table(spark, location.table or location.path or "", as_text=as_text)


def package_file(resource: str, where: str) -> Path:
    """Find ``package/folder/file.parquet`` among the installed packages, without importing the package."""
    package, _, inside = resource.partition("/")
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        hint = package.replace("_", "-")
        raise InputError(f"{where}.package: package {package!r} is not installed; pip install {hint}")
    for folder in found.submodule_search_locations:
        path = Path(folder) / inside
        if path.resolve().is_relative_to(Path(folder).resolve()) and path.exists():
            return path
    raise InputError(f"{where}.package: {inside!r} is not a file of package {package!r}; check the path")


def read_source(
    spark: SparkSession,
    source: Source,
    where: str,
    as_text: Collection[str] = (),
    nested: ReadNested = with_nested,
) -> DataFrame:
    """Read an event log with its dimension columns joined and its filter applied."""
    frame = read_location(spark, source, where, as_text)
    check_json(frame, source, where)
    return enrich(spark, frame, source, where, nested)


def enrich(
    spark: SparkSession, frame: DataFrame, source: Source, where: str, nested: ReadNested = with_nested
) -> DataFrame:
    """Add nested and dimension columns to rows of an event log, and apply its filter."""
    frame = nested(frame, source, where)
    for name, join in source.joins.items():
        at = f"{where}.joins.{name}"
        frame = join_dimension(frame, read_location(spark, join, at, text_keys(join, frame)), join, at)
    if source.filter is None:
        return frame
    return frame.filter(column(frame, source.filter, f"{where}.filter"))


def join_dimension(events: DataFrame, dimension: DataFrame, join: Join, where: str) -> DataFrame:
    """Add the dimension's columns to every event; a key that is not unique would multiply events, so it is an error."""
    for side, frame in (("events", events), ("dimension", dimension)):
        require(frame, join.key, f"{where}.key ({side})")
    for name in join.columns:
        require(dimension, name, f"{where}.columns")
    there = {name.casefold() for name in events.columns}
    if taken := sorted(name for name in join.columns if name.casefold() in there):
        raise InputError(f"{where}.columns: {taken} are columns of the events already; leave them out")
    picked = dimension.select(*(F.col(quoted(name)) for name in (join.key, *join.columns)))
    # A null key joins nothing.
    keys = picked.select(F.col(quoted(join.key)).alias("key")).filter("key IS NOT NULL")
    repeated = keys.groupBy("key").count().filter("count > 1").count()
    if repeated:
        raise InputError(f"{where}.key: {repeated} values of {join.key} have several rows, expected one row a key")
    return events.join(picked, join.key, "left")


def csv_location(location: Location) -> bool:
    """Whether the rows come from CSV files, which have no types of their own."""
    return location.path is not None and is_csv(location.path)


def text_columns(config: FeaturesConfig, name: str, typed: dict[str, DataFrame]) -> set[str]:
    """Return the columns of a CSV table that are read as text: its key, and what meets a column of another table.

    Parameters
    ----------
    typed
        The declared tables that are no CSV files, by name: where the other side is a number, so is this one.
    """
    tables: dict[str, Source | Attributes] = {**config.sources, **config.attributes}
    own = tables[name]
    promised = {column for column, kind in own.contract.columns.items() if kind.strip().lower() != "string"}
    others = [(frame, tables[other].key or config.entity) for other, frame in typed.items()]
    found = set() if any(_is_number(frame, key) for frame, key in others) else {own.key or config.entity}
    for own_column, reference in own.contract.references.items():
        if not _is_number(typed.get(reference.to), reference.column):
            found.add(own_column)
    for other, table in tables.items():
        for their_column, reference in table.contract.references.items():
            if reference.to == name and not _is_number(typed.get(other), their_column):
                found.add(reference.column)
    found |= {join.key for join in getattr(own, "joins", {}).values() if csv_location(join)}
    return found - promised


def text_keys(join: Join, events: DataFrame) -> set[str]:
    """Return the columns of a dimension in CSV that are read as text, because the events' side is."""
    return {join.key} if csv_location(join) and not _is_number(events, join.key) else set()


def _is_number(frame: DataFrame | None, column: str) -> bool:
    if frame is None or column not in frame.columns:
        return False
    return isinstance(frame.schema[column].dataType, T.NumericType)
