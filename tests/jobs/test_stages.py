"""The seven stages one by one, from events to scores; and the files that spark-submit takes for them."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.flow import verbs
from tests.cli.conftest import FASTEST, Command
from tests.tea import tea_configuration

JOBS = Path(__file__).parents[2] / "jobs"


def _events(owners: int = 400, seed: int = 0) -> pd.DataFrame:
    """A year of purchases: some owners buy tea, again and again."""
    rng = np.random.default_rng(seed)
    count = owners * 30
    owner = rng.integers(0, owners, count)
    likes_tea = owner % 5 == 0
    product = np.where(likes_tea & (rng.random(count) < 0.35), "TEA", rng.choice(["BREAD", "MILK", "SOAP"], count))
    day = pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 280, count), unit="D")
    return pd.DataFrame({"owner": owner, "at": day, "product": product, "amount": rng.gamma(2.0, 3.0, count)})


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tea = {"count": {"aggregate": "count"}, "days_since_last": {"aggregate": "days_since_last"}}
    groups = {
        "total": {"measures": {"spend": {"aggregate": "sum", "of": "amount"}}},
        "tea": {"where": "product = {category}", "measures": tea, "called": ["tea", "teas"]},
    }
    return tea_configuration(tmp_path_factory.mktemp("stages"), _events(), [28, 56], groups)


def past_days(counted: list[Any], latest: Any) -> list[Any]:
    return [row["snapshot_date"] for row in counted if row["snapshot_date"] != latest]


def _arguments(configuration: Path) -> list[str]:
    return ["--config", str(configuration), *[part for value in FASTEST for part in ("--set", value)]]


@pytest.mark.slow
def test_stages_one_by_one(configuration: Path, remedi: Command, spark: Any) -> None:
    for stage in verbs():
        done = remedi(stage, *_arguments(configuration))
        assert done.code == 0, f"{stage}: {done.err}"
    root = configuration.parent / "run"
    first = spark.read.format("delta").load(str(root / "scores")).toPandas()
    assert (root / "model" / "report.html").exists()
    assert first["snapshot_date"].nunique() == 1
    assert sorted(first["rank"]) == list(range(1, len(first) + 1))

    said = {reason["text"] for row in first["reasons"].dropna() for reason in row}
    assert any(re.fullmatch(r"\d+ days? since the last tea, usual: (\d+ days?|none)", text) for text in said), said
    assert all(
        re.match(r"\d+ (teas?|days?) |total amount of events in the last |no tea known yet", text) for text in said
    )

    done = remedi("scores", *_arguments(configuration), "--snapshot", "2026-07-01..2026-08-31")
    assert done.code == 0, done.err
    every = spark.read.format("delta").load(str(root / "scores")).groupBy("snapshot_date").count().collect()
    assert len(every) > 2, "the snapshots of two months beside the latest"
    assert {row["count"] for row in every} == {len(first)}
    refused = remedi("scores", *_arguments(configuration), "--snapshot", "1999-01-01")
    assert refused.code == 2
    assert "no such snapshot" in refused.message
    latest = first["snapshot_date"][0]
    nights = spark.read.format("delta").load(str(root / "nights")).toPandas()
    backfill = nights[nights["verb"] == "backfill"]
    assert set(zip(backfill["kind"], backfill["metric"], backfill["state"], strict=True)) >= {
        ("run", "seconds", "done"), ("stage", "seconds", "done"),
    }  # fmt: skip
    scored = backfill.loc[(backfill["kind"] == "stage") & (backfill["metric"] == "rows"), "value"]
    assert scored.tolist() == [len(first) * len(past_days(every, latest))]
    assert backfill["run_id"].nunique() == 1, "a snapshot that is not there is refused before anything is done"

    figures = spark.read.format("delta").load(str(root / "monitoring")).toPandas()
    honest = figures[figures["metric"] == "after_training"].set_index("snapshot")["value"]
    assert str(latest) in honest.index
    assert honest.eq(0).all(), "the model has learned from the labels of all these snapshots"
    assert not (figures["part"] == "realised").any()
    health = json.loads((root / "model" / "report.json").read_text())["data_health"]
    assert health["inputs"] == [
        {"name": "events", "rows": 12_000, "quarantined": 0},
        {"name": f"rows scored of {latest}", "rows": len(first), "quarantined": 0},
    ]
    assert all(one["psi"] is not None for one in health["features"])

    done = remedi("scores", *_arguments(configuration), "--force")
    assert done.code == 0, done.err
    again = spark.read.format("delta").load(str(root / "scores")).where(f"snapshot_date = '{latest}'").toPandas()
    assert len(again) == len(first)  # the rerun replaced its own rows
    merged = first.merge(again, on="owner_id", suffixes=("", "_again"))
    np.testing.assert_allclose(merged["score"], merged["score_again"], atol=1e-9)
    assert set(first["run_id"]) != set(again["run_id"])

    # A label that another training will predict comes in: nothing is fitted again for this one.
    milk = "features.labels={milk: {source: events, filter: \"product = 'MILK'\", horizon_days: 14}}"
    before = {path: path.stat().st_mtime_ns for path in (root / "model").rglob("*") if "base_models" in str(path)}
    for stage in ("features", "base-models", "fuser", "student"):
        done = remedi(stage, *_arguments(configuration), "--set", milk)
        assert done.code == 0, f"{stage}: {done.err}"
        assert stage != "features" or "1 columns added" in done.err
        assert stage not in ("fuser", "student") or f"{stage}: done before, skipped" in done.err, done.err
    assert "label_milk" in spark.read.format("delta").load(str(root / "owner_features")).columns
    assert before
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_stage_before_its_time_says_what_to_run(configuration: Path, remedi: Command, tmp_path: Path) -> None:
    done = remedi("fuser", *_arguments(configuration), "--root", str(tmp_path / "empty"))
    assert done.code == 2
    assert "expected a bundle" in done.message or "run the stage" in done.message


@pytest.mark.parametrize("job", sorted(JOBS.glob("*.py")), ids=lambda job: job.stem)
def test_a_job_is_its_verb(job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", [str(job), "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(job), run_name="__main__")
    assert stop.value.code == 0
    assert f"Usage: remedi {job.stem.replace('_', '-')} " in capsys.readouterr().out
