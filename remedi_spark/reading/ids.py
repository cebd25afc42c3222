"""Ids as they are joined and handed over again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t

if TYPE_CHECKING:
    from pyspark.sql import Column

_LONGEST = 1e37


def id_values(value: Column, data_type: t.DataType) -> Column:
    """Return ids in their own type; numbers with a fraction as text, without it where there is none.

    pandas makes floats of integers beside nulls: the id is 1465 then, and neither 1465.0 nor 1.465E3. NaN is null.
    """
    if isinstance(data_type, t.DecimalType) and data_type.scale > 0:
        return F.when(value == F.floor(value), value.cast("decimal(38,0)").cast("string")).otherwise(
            value.cast("string")
        )
    if not isinstance(data_type, t.FloatType | t.DoubleType):
        return value
    whole = (value == F.floor(value)) & (F.abs(value) < F.lit(_LONGEST))
    text = F.when(whole, value.cast("decimal(38,0)").cast("string")).otherwise(value.cast("string"))
    return F.when(value.isNotNull() & ~F.isnan(value), text)
