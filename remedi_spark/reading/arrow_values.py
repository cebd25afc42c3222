"""Row groups of a Parquet file as Arrow batches of Spark's types, read by pyarrow in a task."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 20_000


def read_row_group(
    file: str, row_group: int, names: Sequence[str], values: Mapping[str, str | None], parts: Sequence[str],
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:  # fmt: skip
    """Return the named columns of one row group, then constant columns of the folders' names, in ``schema``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as parquet:
        places = {name: i for i, name in enumerate(parquet.schema_arrow.names)}
        for batch in parquet.iter_batches(BATCH_ROWS, row_groups=[row_group]):
            own = [spark_values(batch.column(places[name]), schema.field(i).type) for i, name in enumerate(names)]
            constant = [pa.array([values.get(name)] * batch.num_rows, pa.string()) for name in parts]
            yield pa.RecordBatch.from_arrays([*own, *constant], schema=schema)


def spark_values(array: Any, wanted: Any) -> Any:
    """Return an array in the type that Spark wants; a UUID as text, a 16-bit float and a long decimal as numbers."""
    import pyarrow as pa

    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    kind = array.type
    if kind == wanted:
        return array
    if pa.types.is_fixed_size_binary(kind) and kind.byte_width == 16 and pa.types.is_string(wanted):
        return pa.array([None if one is None else str(uuid.UUID(bytes=one)) for one in array.to_pylist()], pa.string())
    if pa.types.is_float16(kind) or (pa.types.is_decimal(kind) and pa.types.is_floating(wanted)):
        return pa.array([None if one is None else float(one) for one in array.to_pylist()], wanted)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        # Down to the microsecond below, as everywhere: a cast would cut towards 1970.
        known = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False) // 1000
        array = pa.array(known, mask=array.is_null().to_numpy(zero_copy_only=False)).cast(pa.timestamp("us", kind.tz))
    return array.cast(wanted, safe=False)
