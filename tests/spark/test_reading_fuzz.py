"""Whatever small table is written, in whatever form: samples as pandas reads them, or one line that says why not."""

from __future__ import annotations

import datetime as dt
import math
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remedi_spark.errors import InputError
from remedi_spark.samples.schema import FeatureContract, infer_features
from remedi_spark.storage.tables import read_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS = 3
QUICK = settings(
    max_examples=12, deadline=None, database=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(["id", "ID", "a.b", "`x`", "größe [m]", "客户", "🙂 ", "0", "select", "f0", 'say "x", y;z']),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=6),
)
MOMENTS = st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31))
TYPES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "int8": (pa.int8(), st.integers(-128, 127)), "int64": (pa.int64(), st.integers(-(2**53), 2**53)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)), "float": (pa.float32(), st.floats(width=32)),
    "double": (pa.float64(), st.floats()), "half": (pa.float16(), st.floats(width=16).map(np.float16)),
    "bool": (pa.bool_(), st.booleans()),
    "text": (pa.string(), st.text(st.characters(exclude_categories=["Cs"]), max_size=4)),
    "level": (pa.dictionary(pa.int8(), pa.string()), st.sampled_from(["a", "ä", "1D"])),
    "large": (pa.large_string(), st.sampled_from(["007", "7"])), "date": (pa.date32(), MOMENTS.map(dt.datetime.date)),
    "micro": (pa.timestamp("us"), MOMENTS),
    "milli": (pa.timestamp("ms"), MOMENTS.map(lambda one: one.replace(microsecond=0))),
    "nano": (pa.timestamp("ns"), st.integers(-(2**62), 2**62)),
    "zoned": (pa.timestamp("ns", "UTC"), st.integers(0, 2**62)),
    "decimal": (pa.decimal128(10, 2), st.integers(-(10**9), 10**9).map(lambda one: Decimal(one) / 100)),
    "time": (pa.time64("us"), st.just(dt.time(1, 2))), "list": (pa.list_(pa.timestamp("ns")), st.just([1])),
    "binary": (pa.binary(), st.binary(max_size=3)), "null": (pa.null(), st.none()),
}  # fmt: skip
TEXTS = st.lists(
    st.sampled_from([
        "", "0", "7", "007", "-1.5", "1e3", "1D", "2F", "NaN", "inf", "12345678901234567890", "9007199254740993", "1,5",
        "1.234", "1.234,5", "13:45", "2026-01-31", "2026-02-30", "2026-01-31 12:00",
        "0001-01-01", "true", "False", "a", " 7", "7 ", "-",
        "NA", "NULL", "two\nlines", 'a "b"', "ä;€,\t|", "=1+1", "'", "0x1F", "1_000", "+5", ".5", "5.", "--1", "٣",
    ]),
    min_size=ROWS, max_size=ROWS,
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    names = draw(st.lists(NAMES, min_size=2, max_size=6, unique=True))
    columns = []
    for _ in names:
        kind, values = TYPES[draw(st.sampled_from(sorted(TYPES)))]
        drawn = draw(st.lists(st.none() | values, min_size=ROWS, max_size=ROWS))
        columns.append(pa.array(drawn, kind))
    # Row groups that pyarrow reads come in any order.
    return pa.table([*columns, pa.array(range(ROWS))], names=[*names, "row number"])


@QUICK
@given(table=tables(), row_groups=st.sampled_from([1, 100]), int96=st.booleans())
def test_any_parquet(table: pa.Table, row_groups: int, int96: bool, spark: SparkSession) -> None:
    # Years that 96 bits hold, but not the 64 bits of nanoseconds that pyarrow makes of them, are read wrong by pyarrow.
    int96 = int96 and not any(kind in (pa.timestamp("us"), pa.timestamp("ms")) for kind in table.schema.types)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any [table].parquet"
        try:
            pq.write_table(table, path, row_group_size=row_groups, use_deprecated_int96_timestamps=int96)
        except (pa.ArrowException, OverflowError):  # years that 96 bits of nanoseconds do not hold
            return
        found = _samples(spark, path)
        if found is not None:
            read = pq.read_table(path).to_pandas(timestamp_as_object=True)
            samples = found[1].sort_values(found[1].columns[-1], ignore_index=True)
            pd.testing.assert_frame_equal(samples, found[0].canonical(read), check_dtype=False)


@QUICK
@given(
    columns=st.dictionaries(NAMES.filter(lambda name: name.strip() != ""), TEXTS, min_size=2, max_size=8),
    separator=st.sampled_from(",;\t|"), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
)  # fmt: skip
def test_any_csv(columns: dict[str, list[str]], separator: str, encoding: str, end: str, spark: SparkSession) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.csv"
        frame = pd.DataFrame(columns)
        frame.to_csv(path, index=False, sep=separator, encoding=encoding, lineterminator=end, quoting=1)
        found = _samples(spark, path)
        if found is None:
            return
        contract, samples = found
        text = frame.mask(frame == "")
        pd.testing.assert_frame_equal(samples, contract.canonical(text), check_dtype=False)
        again = read_table(spark, str(path), as_text=contract.names)
        scored = again.select(*contract.select(again, table="t", text=True)).toPandas()
        pd.testing.assert_frame_equal(samples, scored)
        try:
            inferred = contract.canonical(pd.read_csv(path, sep=separator, encoding=encoding))
        except InputError as error:
            assert "frame: feature" in str(error)
            return
        for name in samples.columns:
            assert _same(samples[name], inferred[name]), (name, samples[name].tolist(), inferred[name].tolist())


def _samples(spark: SparkSession, path: Path) -> tuple[FeatureContract, pd.DataFrame] | None:
    """Return contract and samples, or None after a refusal in one line."""
    try:
        frame = read_table(spark, str(path))
    except InputError as error:
        assert str(path) in str(error)
        assert "\n" not in str(error)
        return None
    features, _ = infer_features(frame, [])
    contract = FeatureContract(tuple(features))
    return contract, frame.select(*contract.select(frame, table="t")).toPandas() if features else pd.DataFrame(
        index=range(ROWS)
    )


def _same(one: pd.Series[Any], other: pd.Series[Any]) -> bool:
    """Whether values agree, but for marks such as NA among texts, which pandas' own reading has lost."""
    marks = (None, "NA", "NULL", "NaN")

    def alike(a: Any, b: Any) -> bool:
        if isinstance(a, float) and isinstance(b, float):
            return (math.isnan(a) and math.isnan(b)) or a == b
        return a == b or (a in marks and b is None)

    return all(alike(a, b) for a, b in zip(one, other, strict=True))
