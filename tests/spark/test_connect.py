"""Spark Connect where it cannot be had."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from remedi_spark.config.spark import SparkConfig
from remedi_spark.errors import InputError
from remedi_spark.spark import connect
from remedi_spark.spark import session as sessions


def test_missing_packages_are_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError("[PACKAGE_NOT_INSTALLED] grpcio >= 1.48.1 must be installed\nmore")

    monkeypatch.setattr(importlib, "import_module", missing)
    builder: Any = None
    with pytest.raises(
        InputError, match=r"SPARK_REMOTE: sc://there needs more packages \(.*grpcio.*pyspark\[connect\]"
    ) as raised:
        sessions._connect(builder, SparkConfig(), "sc://there")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("remote", "own"), [("local[2]", True), ("sc://host:15002", False)])
def test_an_address_is_no_server_of_this_process(remote: str, own: bool) -> None:
    assert connect.is_own_server(remote) is own
