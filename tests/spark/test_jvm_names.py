"""Making columns does not ask the JVM for the same names again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from py4j import java_gateway
from pyspark.sql import functions as F

from remedi_spark.spark.jvm_names import NAMES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that the JVM is asked for."""
    names: list[str] = []
    for kind in (java_gateway.JVMView, java_gateway.JavaPackage, java_gateway.JavaClass):

        def ask(owner: Any, name: str, former: Any = kind.__getattr__) -> Any:
            names.append(name)
            return former(owner, name)

        monkeypatch.setattr(kind, "__getattr__", ask)
    return names


def test_a_column_asks_for_nothing(spark: SparkSession, asked: list[str]) -> None:
    column = F.col("a") + F.lit(1)
    assert spark.range(1).select((F.col("id") + 1).alias("a")).select(column.alias("b")).collect()[0]["b"] == 2
    assert not set(asked) & {"functions", "col", "lit", "PythonUtils", "toSeq"}


@pytest.mark.parametrize("name", NAMES)
def test_this_spark_has_the_name(name: str, spark: SparkSession) -> None:
    owner: Any = spark.sparkContext._jvm
    for part in name.split("."):
        assert part in vars(owner), "looked up when the session started"
        owner = vars(owner)[part]
