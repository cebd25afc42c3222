"""Columns from inside structs, arrays and JSON text once more, in plain Python: what ``verify`` reads them with.

Nothing of how the build reads them (:mod:`remedi_spark.features.nested`) is used but the types of the columns: paths
are read here, JSON by the standard library, and an array is taken apart row by row. The cast to a declared type is
Spark's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql import types as T
from pyspark.sql.pandas.types import to_arrow_schema

from remedi_spark.features.nested import with_nested
from remedi_spark.spark.names import quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from remedi_spark.config.sources import Source


def nested_by_hand(frame: DataFrame, source: Source, where: str) -> DataFrame:
    """Return what :func:`remedi_spark.features.nested.with_nested` does: the declared columns, a row a place."""
    if not source.nested:
        return frame
    plain = source.model_copy(
        update={"nested": {name: one.model_copy(update={"type": None}) for name, one in source.nested.items()}}
    )
    types = {field.name: field.dataType for field in with_nested(frame, plain, where).schema.fields}
    schema = T.StructType([*frame.schema.fields, *(T.StructField(name, types[name]) for name in source.nested)])
    exploded = {name: one.explode for name, one in source.nested.items() if one.explode is not None}
    paths = {name: one.path for name, one in source.nested.items() if one.path is not None}
    kinds = {name: to_arrow_schema(schema).field(name).type for name in source.nested}
    rows = frame.mapInArrow(reader(exploded, paths, kinds), schema)  # type: ignore[arg-type]
    casts = {name: one.type for name, one in source.nested.items() if one.type is not None}
    found = {name: F.expr(f"try_cast({quoted(name)} AS {kind})") for name, kind in casts.items()}
    return rows.withColumns(found) if found else rows


def reader(
    exploded: Mapping[str, str], paths: Mapping[str, str], kinds: Mapping[str, pa.DataType]
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """Return the function of record batches that adds columns of these kinds, in their order, and a row a place."""
    firsts = {path.split(".")[0].split("[")[0] for path in (*exploded.values(), *paths.values())}

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            raw = {name: batch[name].to_pylist() for name in firsts & {*batch.schema.names}}
            parents: list[int] = []
            found: dict[str, list[Any]] = {name: [] for name in kinds}
            for number in range(batch.num_rows):
                for row in places({name: values[number] for name, values in raw.items()}, exploded):
                    parents.append(number)
                    for name, values in found.items():
                        values.append(row[name] if name in exploded else value_at(row, paths[name]))
            kept = batch.take(pa.array(parents, pa.int64()))
            columns = [pa.array(values, kinds[name]) for name, values in found.items()]
            yield pa.RecordBatch.from_arrays([*kept.columns, *columns], names=[*kept.schema.names, *found])

    return read


def places(row: Mapping[str, Any], exploded: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return a row for each place of the array that is exploded; the row itself where none is."""
    rows = [dict(row)]
    for name, path in exploded.items():
        found = value_at(row, path)
        if isinstance(found, str):
            inside = parsed(found)
            found = [text_of(one) for one in inside] if isinstance(inside, list) else None
        rows = [{**row, name: one} for one in found or []]
    return rows


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """Return what is at a path such as ``payload.items[0].price``; None where nothing is."""
    steps = [step for part in path.split(".") for step in part.replace("[", "\0#").replace("]", "").split("\0") if step]
    value, json_text = row[steps[0]], False
    for step in steps[1:]:
        if isinstance(value, str) and not json_text:
            value, json_text = parsed(value), True
        value = _step(value, step)
        if value is None:
            return None
    return text_of(value) if json_text else value


def _step(value: Any, step: str) -> Any:
    if step.startswith("#"):
        place = int(step[1:])
        return value[place] if isinstance(value, list) and place < len(value) else None
    if isinstance(value, list):  # a map, as Arrow gives it
        value = dict(one for one in value if isinstance(one, tuple))
    return value.get(step) if isinstance(value, dict) else None


def parsed(text: str) -> Any:
    """Return what JSON text holds, numbers as they stand there; None where it is no JSON."""
    try:
        return json.loads(text, parse_float=_Digits, parse_int=_Digits)
    except ValueError:
        return None


class _Digits(str):
    """A number of JSON text, digit by digit."""

    __slots__ = ()


def text_of(value: Any) -> str | None:
    """Return a value of JSON text as SQL's JSON functions give it: text bare, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return json.loads(value) if isinstance(value, _Digits) else value
