"""A bucket that this process and the session of the tests reach."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.object_store import SECRETS, has_server, make_bucket, served, spark_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@pytest.fixture(scope="session")
def bucket(spark: SparkSession) -> Iterator[str]:
    """The address of an empty bucket, as users give it."""
    if not has_server():
        pytest.skip("no moto in this environment")
    name = f"remedi-{uuid.uuid4().hex[:8]}"
    with served() as address, pytest.MonkeyPatch.context() as patch:
        for key, value in {**SECRETS, "AWS_ENDPOINT_URL": address}.items():
            patch.setenv(key, value)
        make_bucket(address, name)
        for key, value in spark_settings(address).items():
            spark.conf.set(key, value)
        yield f"s3a://{name}"
