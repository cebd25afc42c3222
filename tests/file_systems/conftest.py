"""Places for whole chains: a bucket, a folder of Hadoop."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests import hadoop

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="module")
def hdfs(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an empty file system of Hadoop."""
    if importlib.util.find_spec("hdfs_native") is None:
        pytest.skip("no hdfs-native in this environment")
    if shutil.which("java") is None:
        pytest.skip("no java on the PATH")
    with hadoop.served(spark, tmp_path_factory.mktemp("hadoop")) as address:
        yield address


@pytest.fixture(params=["bucket", "hdfs"])
def place(request: pytest.FixtureRequest, spark: SparkSession) -> str:
    """An address that this process and its session reach: on S3, on Hadoop."""
    return str(request.getfixturevalue(request.param))
