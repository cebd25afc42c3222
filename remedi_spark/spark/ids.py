"""Ids as they are joined and handed over again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql import types as t

if TYPE_CHECKING:
    from pyspark.sql import Column

_LONGEST = 1e37


def id_values(value: Column, data_type: t.DataType) -> Column:
    """Return ids in their own type; floats (pandas, for a null among integers) as text: 1465, not 1.465E3."""
    if not isinstance(data_type, t.FloatType | t.DoubleType):
        return value
    whole = (value == F.floor(value)) & (F.abs(value) < F.lit(_LONGEST))
    text = F.when(whole, value.cast("decimal(38,0)").cast("string")).otherwise(value.cast("string"))
    return F.when(value.isNotNull() & ~F.isnan(value), text)
