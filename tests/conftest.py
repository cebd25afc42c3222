"""One small local Spark session for each test process, in a scratch folder of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import Command, Outcome, Trained, train_a_bundle
from tests.interpreted import SMALL
from tests.object_store import EXCLUDED, PACKAGES, SECRETS, has_server, make_bucket, served, spark_settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep tests of a file, of the command line's bundle and of adaptation in one process: they share a training."""
    from xdist.scheduler import LoadScopeScheduling

    class ByTraining(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            if file.startswith("tests/adaptation/"):
                return "adaptation"
            trained = ("tests/cli/", "tests/cluster/", "tests/flow/test_synthetic")
            return "command line" if file.startswith(trained) else file

    return ByTraining(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a Spark session, so that `make test-fast` can leave it out, and skip what this Spark has not."""
    from remedi_spark.spark.builds import installed_build

    none = None if installed_build().synapseml else pytest.mark.skip(reason="SynapseML has no build for this Spark")
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker("spark")
        if none is not None and item.get_closest_marker("synapseml"):
            item.add_marker(none)


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """A lazy session: tests that need no Spark do not pay for it."""
    from remedi_spark.config.spark import SparkConfig
    from remedi_spark.spark.session import get_session

    scratch: Path = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.local.dir": str(scratch / "local"),
        **SMALL,
        "spark.jars.excludes": EXCLUDED,
    }
    # Two slots: enough for two-worker fits. Two shuffle partitions: test data is tiny.
    config = SparkConfig(
        master="local[2]", driver_memory="2g", shuffle_partitions=2, packages=PACKAGES, settings=settings
    )
    session = get_session(config)
    yield session
    session.stop()


@pytest.fixture(scope="session")
def bucket(spark: SparkSession) -> Iterator[str]:
    """The address of an empty bucket that this process and its session reach."""
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


@pytest.fixture(scope="session")
def trained(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A bundle that was trained through the command line."""
    return train_a_bundle(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def remedi(spark: Any, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run the command line inside the test session."""
    from remedi_spark.cli import main

    def run(*arguments: str) -> Outcome:
        capfd.readouterr()
        try:
            main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capfd.readouterr()
        return Outcome(code, printed.out, printed.err)

    return run
