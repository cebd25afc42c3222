"""A first run says what it does; a later one only does it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from remedi_spark import running
from remedi_spark.config import load_config
from remedi_spark.flow import STAGES
from remedi_spark.running import explain
from remedi_spark.storage.ledger import LEDGER
from remedi_spark.storage.tables import Tables
from remedi_spark.storage.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONFIG = Path(__file__).parents[2] / "conf" / "complete_journey.yaml"


def test_every_stage_is_explained_once(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(running, "log", lambda stage, message: said.append(f"{stage}: {message}"))
    workspace = Workspace(Tables(spark, str(tmp_path)), tmp_path / "model")
    config = load_config(CONFIG)
    explain(STAGES, workspace, config.label_name(), str(tmp_path))
    assert "INFANT FORMULA within 28 days" in said[0]
    assert said[1:-1] == [f"first run: {stage.name}: {stage.does}" for stage in STAGES]
    assert str(tmp_path / "model") in said[-1]
    said.clear()
    workspace.tables.overwrite(spark.range(1), LEDGER)
    explain(STAGES, workspace, config.label_name(), str(tmp_path))
    assert said == []
