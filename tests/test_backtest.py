"""Rolling origins: each learns from what was known by then, is judged on its own day, and is done once."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.backtest import MEASURES, Snapshot, choose_origins, summarise
from remedi_spark.errors import InputError
from remedi_spark.reporting.backtest import render_backtest
from tests.cli.conftest import Command
from tests.tea import tea_configuration

SETTINGS = [
    "base_models.folds=2", "evaluation.bootstrap=20", "fuser.steps=20", "fuser.seeds=1",
    *[f"base_models.models.{name}.enabled=false" for name in (
        "lightgbm_small", "lightgbm_large", "lightgbm_extra", "lightgbm_focal", "deepfm", "tabm", "xgboost", "catboost",
        "catboost_categories",
    )],
    "base_models.models.lightgbm.num_iterations=20", "base_models.models.additive.iterations=8",
    "student.models.tabm.enabled=false", "student.models.lightgbm.num_iterations=30",
]  # fmt: skip


def snapshots(count: int, every: int = 7) -> list[Snapshot]:
    return [Snapshot(date(2026, 1, 1) + timedelta(days=every * i), 100, 5, str(i)) for i in range(count)]


def test_origins_are_the_latest_that_do_not_overlap() -> None:
    known = snapshots(30)
    chosen = choose_origins(known, 4, timedelta(days=28), timedelta(days=28))
    assert chosen == [known[i].day for i in (17, 21, 25, 29)]
    uneven = timedelta(days=10)
    assert choose_origins(known, 3, timedelta(days=28), uneven) == [known[i].day for i in (25, 27, 29)]
    assert choose_origins(known, 7, timedelta(days=28), timedelta(days=28))[0] == known[5].day
    with pytest.raises(InputError, match="only 7 are possible"):
        choose_origins(known, 8, timedelta(days=28), timedelta(days=28))
    with pytest.raises(InputError, match="at least 2"):
        choose_origins(known, 1, timedelta(days=28), timedelta(days=28))


def test_the_interval_is_students() -> None:
    values = (0.2, 0.3, 0.4)
    origins = [{"models": {"student": {measure: [value, None, None] for measure in MEASURES}}} for value in values]
    found = summarise(origins)["student"]["ap"]
    half = 4.302652729911275 * 0.1 / np.sqrt(3)  # t of 97.5 % with 2 degrees of freedom
    assert found == pytest.approx({"mean": 0.3, "low": 0.3 - half, "high": 0.3 + half, "worst": 0.2, "best": 0.4})


def _events(owners: int = 300, days: int = 224, seed: int = 0) -> pd.DataFrame:
    """Purchases; some owners buy tea again and again, more of them from day 140 on."""
    rng = np.random.default_rng(seed)
    count = owners * days // 8
    owner, day = rng.integers(0, owners, count), rng.integers(0, days, count)
    likes = (owner % 5 == 0) | ((owner % 5 == 1) & (day >= 140))
    product = np.where(likes & (rng.random(count) < 0.4), "TEA", "BREAD")
    at = pd.Timestamp("2026-01-01") + pd.to_timedelta(day, unit="D")
    return pd.DataFrame({"owner": owner, "at": at, "product": product})


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    count = {"count": {"aggregate": "count"}}
    groups = {"all": {"measures": count}, "tea": {"where": "product = {category}", "measures": count}}
    return tea_configuration(tmp_path_factory.mktemp("backtest"), _events(), [28], groups)


@pytest.mark.slow
def test_every_origin_is_honest_and_is_done_once(configuration: Path, remedi: Command, spark: Any) -> None:
    settings = [part for value in SETTINGS for part in ("--set", value)]
    arguments = ["backtest", "--config", configuration, "--origins", "2", "--every", "28", *settings]
    done = remedi(*arguments)
    assert done.code == 0, done.err
    bundle = configuration.parent / "run" / "model"
    tree = json.loads((bundle / "backtest.json").read_text())
    rows = spark.read.format("delta").load(str(configuration.parent / "run" / "owner_features")).toPandas()
    rows = rows[rows["label"].notna()]
    for one in tree["origins"]:
        origin = pd.Timestamp(one["day"]).date()
        judged = rows[rows["snapshot_date"] == origin]
        assert (one["rows"], one["positives"]) == (len(judged), judged["label"].sum())
        assert one["trained_on"] == (rows["snapshot_date"] <= origin - timedelta(days=14)).sum()
        assert one["models"]["student"]["auc"][0] > 0.7, "tea drinkers buy tea"
    assert tree["origins"][0]["day"] < tree["origins"][1]["day"]
    assert "student" in done.out and tree["origins"][0]["day"] in done.out
    page = (bundle / "backtest.html").read_text()
    assert "times the buyers of a random one" in page
    assert "http://" not in page.split("<script>")[0]

    again = remedi(*arguments, "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out) == tree
    assert again.err.count("done before, skipped") >= 2
    assert not list((bundle / "backtest").glob("*/tables")), "an origin leaves its models and figures only"


def test_text_of_the_page_is_escaped() -> None:
    values = {measure: [0.5, 0.4, 0.6] for measure in MEASURES}
    name = "</script><img src=x onerror=alert(1)>"
    origins = [
        {"day": f"2026-0{i}-01", "rows": 10, "positives": 2, "k": 1, "prior": 0.2, "trained_on": 5,
         "base_models": [name], "models": {"student": values, "fuser": values, name: values}}
        for i in (1, 2, 3)
    ]  # fmt: skip
    tree = {"label": name, "budget": 0.075, "embargo_days": 28, "origins": origins, "summary": summarise(origins)}
    assert name not in render_backtest(tree)
