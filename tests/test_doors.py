"""What reaches past Spark's public, Connect-ready interface is in ``remedi_spark/spark`` alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from remedi_spark.models.registry import FAMILIES

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "remedi_spark"
EXEMPT = (
    PACKAGE / "spark",  # behind what `capabilities` answers
    PACKAGE / "models" / "lightgbm" / "jvm",  # an objective of SynapseML's engine, which exists only where a JVM does
)
NAMES = {
    "_jvm", "_jsc", "_jdf", "_jsparkSession", "_jreader", "_jcol", "_gateway", "_sc", "sparkContext", "SparkContext",
    "_active_spark_context", "_instantiatedSession", "rdd", "broadcast", "persist", "cache", "unpersist",
    "checkpoint", "localCheckpoint", "StorageLevel", "Py4JError", "Py4JJavaError",
}  # fmt: skip
PUBLIC = {("F", "broadcast"), ("functools", "cache")}
"""A hint for a join, and Python's own."""


def doors(source: str) -> Iterator[tuple[int, str]]:
    """Return line and name of each use of the JVM, of RDDs, of kept rows and of what is private to PySpark."""
    tree = ast.parse(source)
    spark = _from_pyspark(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            private = owner in spark and node.attr.startswith("_") and not node.attr.startswith("__")
            if private or (node.attr in NAMES and (owner, node.attr) not in PUBLIC):
                yield node.lineno, node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node.lineno, name) for name in _imported(node))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            texts = (one.value for one in node.args if isinstance(one, ast.Constant))
            yield from ((node.lineno, str(text)) for text in texts if text in NAMES)


def _from_pyspark(tree: ast.AST) -> set[str]:
    """Return the names that stand for a module or a class of PySpark."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {one.asname or one.name for node in found if _root(node.module) == "pyspark" for one in node.names}


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """Return what is imported of py4j, and of PySpark what is private or in ``NAMES``."""
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names if _root(one.name) == "py4j")
    elif _root(node.module) == "py4j":
        yield str(node.module)
    elif _root(node.module) == "pyspark":
        yield from (one.name for one in node.names if one.name in NAMES or one.name.startswith("_"))


def _root(module: str | None) -> str:
    return (module or "").split(".", maxsplit=1)[0]


def test_only_the_spark_package_goes_behind_sparks_interface() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if not any(path.is_relative_to(one) for one in EXEMPT)]
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in sorted(files)
        for line, name in sorted(doors(path.read_text(encoding="utf-8")))
    ]
    assert not found, "move these into remedi_spark/spark, behind capabilities:\n" + "\n".join(found)


@pytest.mark.parametrize(
    "code",
    [
        "spark._jvm.java", "spark.sparkContext", "frame.rdd", "context.broadcast(x)", "frame.cache()",
        "frame.persist()", "frame.unpersist()", "frame._jdf", "from py4j.protocol import Py4JJavaError", "import py4j",
        "from pyspark import StorageLevel", "from pyspark.sql import types as t\nt._parse_datatype_string(x)",
        "from pyspark.sql import SparkSession\nSparkSession._anything", "getattr(x, '_active_spark_context', None)",
    ],
)  # fmt: skip
def test_the_check_sees(code: str) -> None:
    assert list(doors(code))


@pytest.mark.parametrize(
    "code",
    ["from functools import cache\n@cache\ndef f(): ...", "import functools\nfunctools.cache(f)",
     "from pyspark.sql import functions as F\nF.broadcast(frame)", "self._anything", "# frame.rdd"],
)  # fmt: skip
def test_the_check_leaves_alone(code: str) -> None:
    assert not list(doors(code))


def test_learners_and_predictors_are_imported_without_pyspark() -> None:
    names = {name.partition(":")[0] for family in FAMILIES for name in (family.learner, family.predictor)}
    imports = "\n".join(f"import remedi_spark.models.{name}" for name in (*sorted(names), "table_examples"))
    code = f"import sys\n{imports}\nprint([name for name in sys.modules if name.startswith('pyspark')][:3])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
