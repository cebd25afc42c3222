"""Names of the JVM that PySpark 3.5 asks for again with every column it makes, looked up once.

``F.col`` asks what ``functions`` is, then what its member ``col`` is. To answer the first, the JVM tries the name in
one imported package after the other, and looks through all jars for each: a millisecond a column, and a chain over a
wide table makes thousands of them. Spark 4 asks by the full name (SPARK-48475).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NAMES = (
    "functions.col", "functions.lit", "PythonUtils.toSeq", "py4j.reflection.TypeUtil.isInstanceOf", "SparkSession",
    "SparkSession$", "org.apache.spark.sql.types", "org.apache.spark.sql.execution", "org.apache.spark.util.Utils",
    "io.delta.tables.DeltaTable.isDeltaTable",
)  # fmt: skip


def look_up_once(session: SparkSession) -> None:
    """Keep what the names stand for beside the gateway's view of the JVM, where Python finds it without asking."""
    view: Any = session.sparkContext._jvm
    if "functions" in vars(view):
        return
    for name in NAMES:
        with suppress(Py4JError):  # a platform may do without
            _keep(view, name)


def _keep(view: Any, name: str) -> None:
    owner = view
    for part in name.split("."):
        found = getattr(owner, part)
        setattr(owner, part, found)
        owner = found
