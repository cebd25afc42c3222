"""A training short of rows and of time: calibrated to all rows, and of the same members in both phases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.cli import main
from remedi_spark.opening import reopen
from remedi_spark.scoring.bundle import load
from tests.cli.conftest import train_arguments

pytestmark = pytest.mark.slow
ROWS, LIMIT, SPARE = 12_000, 2_000, 1_500
SETTINGS = (
    f"base_models.max_rows={LIMIT}", f"student.max_spare={SPARE}", "base_models.only=[additive, lightgbm, mlp]",
    "student.models.mlp=null",
    "student.models.catboost=null",
    "student.models.lightgbm={kind: lightgbm, num_leaves: 15, num_iterations: 100, learning_rate: 0.1}",
)  # fmt: skip


def _world(seed: int) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(seed)
    x, kind = rng.normal(0, 1, (ROWS, 4)), rng.choice(list("abcdef"), ROWS)
    truth = 1 / (1 + np.exp(4.2 - x[:, 0] - 0.6 * x[:, 1] - 0.5 * (kind == "a")))
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(4)]).assign(kind=kind, bought=rng.random(ROWS) < truth)
    frame.insert(0, "owner", [f"{seed}-{i}" for i in range(ROWS)])
    return frame.astype({"bought": int}), pd.Series(truth)


def _require_spare_rows(model: Path) -> None:
    """Hold the rows that only the teacher was asked about to what they are: others than it learned from, no labels."""
    workspace, _, _ = reopen(model)
    for phase in ("holdout", "final"):
        rows = workspace.read(phase, "fused_scores").toPandas()
        about = workspace.models(phase).load("training")
        assert about["taught"] == (rows["part"] != "test").sum()
        assert about["used"] == (rows["part"] == "train").sum()
        spare, learned = rows[rows["part"] == "spare"], rows[rows["part"] == "train"]
        assert len(spare) == pytest.approx(SPARE, rel=0.1)
        assert spare["label"].isna().all()
        assert (spare["fold"] == -1).all()
        assert spare["fuser"].notna().all()
        assert not set(spare["owner_id"]) & set(learned["owner_id"])


@pytest.fixture(scope="module")
def model(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that has learned from a sixth of the rows, all positives among them, in less time than a fit takes."""
    folder = tmp_path_factory.mktemp("budget")
    _world(3)[0].to_parquet(folder / "owners.parquet")
    settings = [word for one in SETTINGS for word in ("--set", one)]
    with pytest.raises(SystemExit) as stop:
        main(train_arguments(folder / "owners.parquet", folder / "model", "--time-limit", "0.01", *settings))
    assert not stop.value.code
    return folder / "model"


def test_scores_of_new_owners_add_up_to_the_base_rate(model: Path) -> None:
    learned = json.loads((model / "metrics.json").read_text())["learned_from"]
    assert learned["rows_used"] == pytest.approx(LIMIT, rel=0.1)
    _require_spare_rows(model)
    fresh, truth = _world(4)
    scores = load(model).predict(fresh)
    # 355 positives: their number has a standard error of 5 %. Among the rows learned from, one in seven is positive.
    assert scores.mean() == pytest.approx(truth.mean(), rel=0.15)
    margin, true_margin = (np.log(p) - np.log1p(-p) for p in (scores, truth))
    assert np.corrcoef(margin, true_margin)[0, 1] > 0.9


def test_a_time_limit_leaves_out_the_same_members_of_both_phases(model: Path) -> None:
    phases = json.loads((model / "work" / "phases.json").read_text())["phases"]
    assert [phase["models"] for phase in phases.values()] == [["additive", "lightgbm"]] * 2
    failed = json.loads((model / "metrics.json").read_text())["failed"]
    assert [(one["model"], one["phase"]) for one in failed] == [("mlp", "holdout")]
    assert "time_limit was used up" in failed[0]["reason"]
