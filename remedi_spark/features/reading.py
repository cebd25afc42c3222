"""Which columns of CSV files are read as text: ids and codes whose other side is text keep their zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import types as T

from remedi_spark.storage.tables import is_csv

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config.features import Attributes, FeaturesConfig, Join, Location, Source


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
    for column, reference in own.contract.references.items():
        if not _is_number(typed.get(reference.to), reference.column):
            found.add(column)
    for other, table in tables.items():
        for column, reference in table.contract.references.items():
            if reference.to == name and not _is_number(typed.get(other), column):
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
