"""Any frame that pandas, pyarrow or Spark would give for a trained table gives the same values."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from remedi_spark.errors import InputError
from remedi_spark.samples.schema import Feature, FeatureContract


def _values(kind: Any, frame: Any, name: str = "x", **written: Any) -> list[Any]:
    found = FeatureContract((Feature(name, kind, **written),)).canonical(frame)["f0"]
    return [None if pd.isna(value) else value for value in found]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("number", pd.array([1, None], dtype="int64[pyarrow]"), [1.0, None]),
        ("number", pd.array([2**60, None], dtype="Int64"), [float(2**60), None]),
        ("number", pd.Series([Decimal("1.5"), None], dtype=pd.ArrowDtype(pa.decimal128(5, 2))), [1.5, None]),
        ("number", pd.Categorical([3, None]), [3.0, None]), ("number", [pd.Timedelta(5), None], [5.0, None]),
        ("boolean", pd.array([True, None], dtype="bool[pyarrow]"), [1.0, None]),
        ("category", pd.Series(["a", None], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))), ["a", None]),
        ("category", [b"\xc3\x96", None], ["Ö", None]), ("category", pd.Categorical(["a", None]), ["a", None]),
        ("date", pd.Series([dt.date(1, 1, 1), None], dtype="date32[pyarrow]"), [-719162.0, None]),
        ("timestamp", pd.Series([dt.datetime(1970, 1, 2), None], dtype="timestamp[us][pyarrow]"), [1.0, None]),
        ("timestamp", pd.Series([pd.Timestamp(86400 * 10**9 + 9), None], dtype="timestamp[ns][pyarrow]"), [1.0, None]),
        ("number", ["1,5", "-"], "refused"), ("number", ["12", " 7.5 "], [12.0, 7.5]),
        ("number", ["1D", "2"], "refused"),
        ("number", ["NA", "-", "inf", "2"], [None, None, None, 2.0]), ("boolean", ["True", "no"], "refused"),
        ("date", ["1970-01-02", ""], [1.0, None]), ("timestamp", ["1970-01-02T12:00:00+12:00", None], [1.0, None]),
        ("date", ["2026-02-30", ""], "refused"), ("category", [1, 2], "refused"),
    ],
)  # fmt: skip
def test_types_of_a_column(kind: Any, values: Any, expected: Any) -> None:
    if expected == "refused":
        with pytest.raises(InputError, match=rf"feature 'x' .*{kind}.* as in training"):
            _values(kind, pd.DataFrame({"x": values}))
    else:
        assert _values(kind, pd.DataFrame({"x": values})) == expected


def test_texts_that_pandas_took_for_numbers() -> None:
    for numbers in ([7, 12], [7.0, 12.0]):
        assert _values("category", pd.DataFrame({"x": numbers}), text="kept") == ["7", "12"]
    assert _values("category", pd.DataFrame({"x": [7.0, np.nan]}), text="kept", missing="NA") == ["7", "NA"]
    with pytest.raises(InputError, match=r"leading zeros.*dtype=\{'x': str\}"):
        _values("category", pd.DataFrame({"x": [7, 12]}), text="lost")
    with pytest.raises(InputError, match="too long for a float"):
        _values("category", pd.DataFrame({"x": [1e17, np.nan]}), text="kept")
    assert _values("number", pd.DataFrame({"x": ["1.234,5", "1.234", "7"]}), decimal=",") == [1234.5, 1234.0, 7.0]


def test_names_of_a_frame() -> None:
    assert _values("number", pd.DataFrame({0: [1.0]}), name="0") == [1.0]
    assert _values("number", pd.DataFrame(index=pd.Index([1.0], name="x"))) == [1.0]
    assert _values("number", pa.table({"x": [1, None]})) == [1.0, None]
    with pytest.raises(InputError, match="its columns have 2 levels"):
        _values("number", pd.DataFrame({("x", "y"): [1.0]}))
    with pytest.raises(InputError, match="two columns named '0'"):
        _values("number", pd.DataFrame([[1, 2]], columns=[0, "0"]))
    with pytest.raises(InputError, match="is a dict, expected one of pandas"):
        _values("number", {"x": [1]})
