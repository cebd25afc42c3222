"""Rolling origins: each learns from what was known by then, is judged on its own day, and is done once."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark import chain
from remedi_spark.backtest import Snapshot, choose_origins, summarise
from remedi_spark.config import Config
from remedi_spark.errors import InputError
from remedi_spark.report.page.backtest import MEASURES, TITLES, render_backtest
from remedi_spark.samples.flat import FlatTable
from remedi_spark.storage.home import Home
from remedi_spark.storage.publish import WORK
from remedi_spark.storage.store import write_json
from tests.cli.conftest import Command
from tests.tea import tea_configuration

SETTINGS = [
    "base_models.folds=2", "evaluation.bootstrap=20", "fuser.steps=20", "fuser.seeds=1",
    "base_models.only=[additive, lightgbm]",
    "base_models.models.lightgbm.num_iterations=20", "base_models.models.additive.iterations=8",
    "student.models.catboost.num_iterations=30",
]  # fmt: skip
TASKS = ("classification", "regression")


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
    origins = [{"models": {"student": {name: [value, None, None] for name in ("ap", "mae")}}} for value in values]
    found = summarise(origins)["student"]
    half = 4.302652729911275 * 0.1 / np.sqrt(3)  # t of 97.5 % with 2 degrees of freedom
    mean = {"mean": 0.3, "low": 0.3 - half, "high": 0.3 + half}
    assert found["ap"] == pytest.approx({**mean, "worst": 0.2, "best": 0.4})
    assert found["mae"] == pytest.approx({**mean, "worst": 0.4, "best": 0.2}), "the larger error is the worse one"


def _events(owners: int = 300, days: int = 224, seed: int = 0) -> pd.DataFrame:
    """Purchases; some owners buy tea again and again, more of them from day 140 on."""
    rng = np.random.default_rng(seed)
    count = owners * days // 8
    owner, day = rng.integers(0, owners, count), rng.integers(0, days, count)
    likes = (owner % 5 == 0) | ((owner % 5 == 1) & (day >= 140))
    product = np.where(likes & (rng.random(count) < 0.4), "TEA", "BREAD")
    at = pd.Timestamp("2026-01-01") + pd.to_timedelta(day, unit="D")
    value = np.round((1 + owner % 7) * np.exp(0.3 * rng.normal(size=count)), 2)
    return pd.DataFrame({"owner": owner, "at": at, "product": product, "value": value})


def _configuration(folder: Path, *, spent: bool) -> Path:
    count = {"count": {"aggregate": "count"}}
    groups = {"all": {"measures": count}, "tea": {"where": "product = 'TEA'", "measures": count}}
    if spent:
        groups["tea"]["measures"] = {**count, "spend": {"aggregate": "sum", "of": "value"}}
    return tea_configuration(folder, _events(), [28], groups, spent=spent)


def _arguments(configuration: Path, settings: list[str]) -> list[str]:
    given = [part for value in settings for part in ("--set", value)]
    return ["backtest", "--config", str(configuration), "--origins", "2", "--every", "28", *given]


def _rolled(remedi: Command, arguments: list[str], configuration: Path, lead: str) -> tuple[Path, dict[str, Any]]:
    """Run a backtest to a good end; return its bundle and what it found."""
    done = remedi(*arguments)
    assert done.code == 0, done.err
    bundle = configuration.parent / "run" / "model"
    tree: dict[str, Any] = json.loads((bundle / "backtest.json").read_text())
    assert f"student {lead}" in done.out and all(one["day"] in done.out for one in tree["origins"])
    return bundle, tree


def _judged(configuration: Path, origin: str, spark: Any) -> tuple[pd.DataFrame, int]:
    """Return the labelled rows of an origin's day, and how many were to be learned from."""
    rows = spark.read.format("delta").load(str(configuration.parent / "run" / "owner_features")).toPandas()
    rows, day = rows[rows["label"].notna()], pd.Timestamp(origin).date()
    return rows[rows["snapshot_date"] == day], int((rows["snapshot_date"] <= day - timedelta(days=14)).sum())


@pytest.mark.slow
def test_every_origin_is_honest_and_is_done_once(remedi: Command, spark: Any, tmp_path: Path) -> None:
    configuration = _configuration(tmp_path, spent=False)
    arguments = _arguments(configuration, SETTINGS)
    bundle, tree = _rolled(remedi, arguments, configuration, "AP")
    for one in tree["origins"]:
        judged, learned_from = _judged(configuration, one["day"], spark)
        assert (one["rows"], one["positives"]) == (len(judged), judged["label"].sum())
        assert one["trained_on"] == learned_from
        assert one["models"]["student"]["auc"][0] > 0.7, "tea drinkers buy tea"
    assert tree["origins"][0]["day"] < tree["origins"][1]["day"]
    page = (bundle / "backtest.html").read_text()
    assert "times the buyers of a random one" in page
    assert "http://" not in page.split("<script>")[0]

    again = remedi(*arguments, "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out) == tree
    assert again.err.count("done before, skipped") >= 2
    assert not list((bundle / "backtest").glob("*/tables")), "an origin leaves its models and figures only"


class _Training:
    """Takes the place of a training: keeps the rows that it was given, and writes figures of them."""

    def __init__(self) -> None:
        self.given: list[tuple[pd.DataFrame, pd.DataFrame]] = []

    def __call__(self, spark: Any, source: FlatTable, home: Home, config: Config, *, force: bool) -> None:
        places = (source.table, source.test)
        train, test = (spark.read.format("delta").load(place).toPandas() for place in places)
        self.given.append((train, test))
        error = float((test["label"] - train["label"].mean()).abs().mean())
        names = ("lightgbm", "fuser", "student")
        few = {"rows": 7.0, "mae": 2 * error}
        metrics = {
            "task": "regression", "rows": len(test), "total": float(test["label"].sum()), "k": 3,
            "models": {name: {**dict.fromkeys(MEASURES["regression"], error), "sera": error} for name in names},
            "intervals": {name: {"mae": [error / 2, 2 * error]} for name in names},
            "shots": {name: {"few": few} for name in names},
        }  # fmt: skip
        (home.folder / "tables").mkdir()
        write_json(home.folder / "metrics.json", metrics)
        write_json(home.folder / WORK / "phases.json", {"phases": {"final": {"models": ["lightgbm"]}}})


@pytest.mark.slow
def test_amounts_roll_as_labels_do_and_an_origin_is_its_rows_and_settings(
    remedi: Command, spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = _Training()
    monkeypatch.setattr(chain, "train", training)
    configuration = _configuration(tmp_path, spent=True)
    bundle, tree = _rolled(remedi, _arguments(configuration, []), configuration, "MAE")
    assert len(training.given) == len(tree["origins"]) == 2
    for one, (train, test) in zip(tree["origins"], training.given, strict=True):
        judged, learned_from = _judged(configuration, one["day"], spark)
        assert sorted(test["owner_id"]) == sorted(judged["owner_id"])
        assert set(test["snapshot_date"]) == {pd.Timestamp(one["day"]).date()}
        assert train["snapshot_date"].max() <= pd.Timestamp(one["day"]).date() - timedelta(days=14)
        assert (one["rows"], one["trained_on"]) == (len(judged), learned_from) == (len(test), len(train))
        assert one["total"] == pytest.approx(judged["label"].sum())
        assert (one["few_rows"], one["base_models"]) == (7, ["lightgbm"])
        student = one["models"]["student"]
        assert set(student) == set(MEASURES["regression"])
        error = student["mae"][0]
        assert student["mae"] == pytest.approx([error, error / 2, 2 * error])
        assert student["few_mae"] == [pytest.approx(2 * error), None, None]
    assert "of the whole value, between" in (bundle / "backtest.html").read_text()

    training.given.clear()
    again = remedi(*_arguments(configuration, ["evaluation.bootstrap=7"]))
    assert (again.code, len(training.given)) == (0, 2), again.err


def _tree(task: str, name: str) -> dict[str, Any]:
    """Return a backtest of three origins with one base model."""
    values = {measure: [0.5, 0.4, 0.6] for measure in MEASURES[task]}
    counts = {"positives": 2, "prior": 0.2} if task == "classification" else {"total": 7.5, "few_rows": 3}
    models = {"student": values, "fuser": values, name: values}
    origins = [
        {"day": f"2026-0{i}-01", "rows": 10, "k": 1, "trained_on": 5, "base_models": [name], "models": models, **counts}
        for i in (1, 2, 3)
    ]
    return {
        "task": task, "label": name, "budget": 0.075, "embargo_days": 28, "origins": origins,
        "summary": summarise(origins),
    }  # fmt: skip


@pytest.mark.parametrize("task", TASKS)
def test_text_of_the_page_is_escaped(task: str) -> None:
    name = "</script><img src=x onerror=alert(1)>"
    assert name not in render_backtest(_tree(task, name))


@pytest.mark.parametrize("task", TASKS)
def test_every_measure_with_a_title_has_its_curve(task: str) -> None:
    page = render_backtest(_tree(task, "lightgbm"))
    assert [name for name in TITLES if f'data-figure="{name}"' in page] == [
        name for name in TITLES if name in MEASURES[task]
    ]


def test_a_measure_that_no_origin_has_leaves_a_gap_not_an_error() -> None:
    tree = _tree("regression", "lightgbm")
    for one in tree["origins"]:
        for measures in one["models"].values():
            measures["few_mae"] = [None, None, None]  # no test row with a rare label
    tree["summary"] = summarise(tree["origins"])
    assert "–" in render_backtest(tree)
