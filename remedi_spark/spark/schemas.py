"""Types and schemas by their text, as SQL writes them."""

from __future__ import annotations

from typing import Any

from pyspark.sql import types as t


def data_type(text: str) -> Any:
    """Return the type of a text such as ``map<string, int>``, for ``a int, b string`` a StructType.

    Raises:
        Exception: the text is no type; which exception depends on Spark's version.
    """
    # Spark 4 has a public reader; the only one of Spark 3.5 asks the JVM of the active session.
    parse: Any = getattr(t.DataType, "fromDDL", None) or t._parse_datatype_string
    return parse(text)
