"""What `remedi score` measures of a batch, and what stops it before the output is replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cli.conftest import Command, Trained


def figures(folder: Path, spark: Any) -> pd.DataFrame:
    return spark.read.format("delta").load(str(folder / "scores_monitoring")).toPandas()


def write(frame: pd.DataFrame, folder: Path) -> Path:
    frame.to_parquet(folder / "batch.parquet", coerce_timestamps="us")
    return folder / "batch.parquet"


def test_the_training_rows_themselves_do_not_drift(
    trained: Trained, remedi: Command, spark: Any, tmp_path: Path
) -> None:
    out = tmp_path / "scores.parquet"
    done = remedi("score", "--table", trained.table, "--model", trained.bundle, "--out", out)
    assert done.code == 0, done.err
    found = figures(tmp_path, spark).set_index(["part", "name", "metric"])["value"]
    psi = found.xs("psi", level="metric")["feature"]
    assert set(psi.index) == set(trained.frame.columns) - {"owner", "bought", "constant"}
    assert psi.max() < 1e-9  # all are counted, in the same bins
    assert found["score", "score", "psi"] < 1e-9  # by the same model
    assert found["table", "rows", "rows"] == len(trained.frame)
    expected = trained.frame["visits, last 28 days"].isna().mean()
    assert abs(found["feature", "visits, last 28 days", "null_share"] - expected) < 1e-12
    scores = pd.read_parquet(out)
    assert set(scores["run_id"]) == set(figures(tmp_path, spark)["run_id"])
    assert abs(found["score", "score", "mean"] - scores["score"].mean()) < 1e-9


def test_drift_warns_and_stops_before_the_output_is_replaced(
    trained: Trained, remedi: Command, spark: Any, tmp_path: Path
) -> None:
    score = ["score", "--model", trained.bundle, "--out", tmp_path / "scores", "--table"]
    first = remedi(*score, trained.table)
    assert "city.name" not in first.err
    changes = {"city.name": "never seen", "größe {m}": trained.frame["größe {m}"] + 30, "visits, last 28 days": np.nan}
    moved = trained.frame.assign(**changes)
    batch = write(moved.head(500), tmp_path)
    stopped = remedi(*score, batch, "--set", "monitoring.unseen_stop=0.5")
    assert stopped.code == 2
    assert "city.name: unseen levels 1" in stopped.message
    assert "--set monitoring.unseen_stop=null" in stopped.message
    assert spark.read.format("delta").load(str(tmp_path / "scores")).count() == 1000, "the former scores stand"
    warned = remedi(*score, batch)
    assert warned.code == 0
    first = warned.err.split("monitoring    ", 1)[1]
    assert first.startswith("visits, last 28 days: if its drift is an error, the list loses")
    assert "größe {m}: PSI" not in warned.err, "the model hardly reads it"
    assert spark.read.format("delta").load(str(tmp_path / "scores")).count() == 500
    found = figures(tmp_path, spark)
    assert set(found.groupby("run_id")["replaced"].first()) == {True, False}
    assert len(found[found["metric"] == "rows"]) == 3
    lost = found[(found["metric"] == "recall_lost") & found["replaced"]].set_index("name")["value"]
    assert set(lost.index) == set(changes)
    assert lost.idxmax() == "visits, last 28 days"
    assert lost["größe {m}"] < lost.max() / 2, "the student hardly reads it"


def test_lost_rows_stop_a_nightly_table_and_go_on_doing_so(
    trained: Trained, remedi: Command, spark: Any, tmp_path: Path
) -> None:
    batch = write(trained.frame, tmp_path)
    score = ["score", "--model", trained.bundle, "--out", tmp_path / "scores", "--table", batch]
    limit = ["--set", "monitoring.rows_lost_stop=0.3"]
    assert remedi(*score, *limit).code == 0
    write(trained.frame.head(100), tmp_path)
    for _ in range(2):
        stopped = remedi(*score, *limit)
        assert stopped.code == 2
        assert "rows lost since the run before 0.9" in stopped.message


def test_monitoring_can_be_switched_off(trained: Trained, remedi: Command, tmp_path: Path) -> None:
    score = ["score", "--table", trained.table, "--model", trained.bundle, "--out", tmp_path / "scores.parquet"]
    assert remedi(*score, "--set", "monitoring.enabled=false").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["scores.parquet"]


def test_what_the_list_holds_is_estimated_from_the_bundle(
    trained: Trained, remedi: Command, spark: Any, tmp_path: Path
) -> None:
    done = remedi("score", "--table", trained.table, "--model", trained.bundle, "--out", tmp_path / "scores.parquet")
    assert done.code == 0, done.err
    found = figures(tmp_path, spark)
    told = found[found["part"] == "estimated"].set_index("metric")
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert 0 <= told.loc["recall_at_k", "low"] < told.loc["recall_at_k", "value"] < told.loc["recall_at_k", "high"] <= 1
    assert set(told["name"]) == set(scores["model_version"])
    assert told.loc["tested_rows", "value"] > 100
    assert told.loc["buyers_at_k", "value"] < scores["in_top_k"].sum()
    assert found[found["part"] != "estimated"]["low"].isna().all()
    out = tmp_path / "other.parquet"
    none = ["--set", "monitoring.estimates=false"]
    assert remedi("score", "--table", trained.table, "--model", trained.bundle, "--out", out, *none).code == 0
    assert len(figures(tmp_path, spark)["part"].unique()) == 4


def test_a_student_of_nets_has_no_page_to_ask(trained: Trained, remedi: Command) -> None:
    done = remedi("report", "--model", trained.bundle, "--what-if", "--table", trained.table)
    assert done.code == 2
    assert "--what-if: found a student of mlp (net), expected one of boosted trees alone" in done.message
    assert not (trained.bundle / "what_if.html").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--table", "x"], "found without --what-if"), (["--names"], "found without --what-if"),
        (["--what-if", "--history"], "expected one at a time"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(options: list[str], words: str, remedi: Command, tmp_path: Path) -> None:
    done = remedi("report", "--model", tmp_path, *options)
    assert done.code == 2
    assert words in done.message


def test_a_bundle_of_train_needs_the_owners(trained: Trained, remedi: Command) -> None:
    done = remedi("report", "--model", trained.bundle, "--what-if")
    assert done.code == 2
    assert "expected owners to show; name them with --table TABLE" in done.message
