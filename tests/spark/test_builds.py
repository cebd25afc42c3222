"""The jars follow from the installed PySpark and Delta; a pair that does not fit is one line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from remedi_spark.errors import InputError
from remedi_spark.spark import builds
from remedi_spark.spark.builds import build_of, installed_build, packages


def install(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    monkeypatch.setattr(builds, "_installed", lambda name: versions.get(name.replace("-", "_")))


@pytest.mark.parametrize(
    ("spark", "delta", "jars"),
    [
        ("3.5.9", "3.3.3",
         ("io.delta:delta-spark_2.12:3.3.3", "com.microsoft.azure:synapseml-lightgbm_2.12:1.1.3")),
        ("4.0.1", "4.0.0", ("io.delta:delta-spark_2.13:4.0.0",)),
        ("4.1.4", "4.4.0", ("io.delta:delta-spark_4.1_2.13:4.4.0",)),
    ],
)  # fmt: skip
def test_the_jars_fit_what_is_installed(
    spark: str, delta: str, jars: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, pyspark=spark, delta_spark=delta)
    assert packages(installed_build()) == jars


@pytest.mark.parametrize(("extra", "build"), [("local", builds.BUILDS[-1]), ("local-3.5", builds.BUILDS[0])])
def test_the_extras_bring_a_pair_that_fits(extra: str, build: builds.Build, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    pins = [re.split(r"(?:\[\w+\])?==", one) for one in project["optional-dependencies"][extra]]
    install(monkeypatch, **{name.replace("-", "_"): version for name, version in pins})
    assert installed_build() == build


def test_a_delta_of_another_spark_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, pyspark="4.1.4", delta_spark="3.3.3")
    with pytest.raises(InputError) as told:
        installed_build()
    assert str(told.value) == (
        "Delta: found delta-spark 3.3.3 beside pyspark 4.1.4, expected delta-spark 4.4;"
        ' pip install "pyspark==4.1.*" "delta-spark==4.4.*"'
    )


def test_a_missing_delta_and_a_missing_spark_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, pyspark="3.5.9")
    with pytest.raises(InputError, match=r"found no delta-spark beside pyspark 3\.5\.9, expected delta-spark 3\.3"):
        installed_build()
    install(monkeypatch)
    with pytest.raises(InputError, match="found no pyspark"):
        installed_build()


def test_a_spark_of_no_build_is_refused() -> None:
    with pytest.raises(InputError, match=r"Spark: found 3\.4\.1, expected one of 3\.5, 4\.0, 4\.1; pip install"):
        build_of("3.4.1")
