"""Counts add up to numpy's own, drift that was planted is found, and chance is not taken for drift."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from remedi_spark.config.monitoring import MonitoringConfig
from remedi_spark.errors import InputError
from remedi_spark.maths.drift import histogram, psi, psi_by_chance, stability_edges
from remedi_spark.samples.encoder import NULL_LEVEL, Encoder, Levels
from remedi_spark.samples.schema import Feature, FeatureContract
from remedi_spark.scoring.monitoring.distribution import Counter, Counts, Distribution
from remedi_spark.scoring.monitoring.measures import Measure, Scored, against_training, realised_lift, row_counts

LIMITS = MonitoringConfig()
CONTRACT = FeatureContract((Feature("spend", "number"), Feature("city", "category")))


def frame(rows: int, seed: int, *, shift: float = 0.0, nulls: float = 0.1, unseen: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    spend = np.where(rng.random(rows) < nulls, np.nan, rng.normal(shift, 1, rows))
    city = rng.choice(np.array(["a", "b", None], dtype=object), rows, p=[0.6, 0.3, 0.1])
    return pd.DataFrame({"f0": spend, "f1": np.where(rng.random(rows) < unseen, "new", city)})


def trained_on(rows: pd.DataFrame) -> tuple[Distribution, Counter]:
    names = rows["f1"].fillna(NULL_LEVEL).value_counts()
    levels = {1: Levels(tuple(names.index), names.to_numpy(dtype=float)[:, None], np.zeros((len(names), 1)))}
    encoder = Encoder(CONTRACT, levels, np.ones(1), np.ones(1), 1, True, 20.0, 28)
    present = rows["f0"].dropna()
    quantiles = present.quantile(np.linspace(0, 1, 11)).to_numpy() if len(present) else ()
    edges = [stability_edges(quantiles).tolist(), None]
    counter = Counter(encoder, edges, [0.5])
    counts = counter.split(counter.count(rows))
    return Distribution(len(rows), None, edges, [one.tolist() for one in counts.features]), counter


TRAINING = frame(20_000, 0)
DISTRIBUTION, COUNTER = trained_on(TRAINING)


def measured(rows: pd.DataFrame, limits: MonitoringConfig = LIMITS) -> dict[tuple[str, str], Measure]:
    halves = [COUNTER.count(part) for part in (rows.iloc[: len(rows) // 3], rows.iloc[len(rows) // 3 :])]
    found = against_training(COUNTER.split(np.sum(halves, axis=0)), DISTRIBUTION, CONTRACT.names, limits)
    return {(one.name, one.metric): one for one in found}


def test_figures_are_those_of_the_reference_on_the_raw_columns() -> None:
    now = frame(5000, 1, shift=0.5, unseen=0.05)
    found = measured(now)
    edges = stability_edges(TRAINING["f0"].quantile(np.linspace(0, 1, 11)))
    spend = psi(*(histogram(part["f0"].to_numpy(), edges) for part in (TRAINING, now)))
    assert found["spend", "psi"].value == pytest.approx(spend, abs=0.01)
    levels = pd.DataFrame([part["f1"].fillna("null").value_counts() for part in (TRAINING, now)]).fillna(0)
    assert found["city", "psi"].value == pytest.approx(psi(*levels.to_numpy()))
    assert found["spend", "null_share"].value == pytest.approx(now["f0"].isna().mean())
    assert found["city", "null_share"].value == pytest.approx(now["f1"].isna().mean())
    assert found["city", "unseen_share"].value == pytest.approx((now["f1"] == "new").mean())


@pytest.mark.parametrize(
    ("change", "which"),
    [
        ({"shift": 1.0}, ("spend", "psi")),
        ({"nulls": 0.6}, ("spend", "null_rise")),
        ({"unseen": 0.3}, ("city", "unseen_rise")),
    ],
)
def test_planted_changes_warn_and_stop(change: dict[str, float], which: tuple[str, str]) -> None:
    now = frame(3000, 2, **change)
    assert measured(now)[which].state == "warn"
    assert measured(frame(3000, 2))[which].state == "ok" if which in measured(frame(3000, 2)) else True
    stops = MonitoringConfig(psi_stop=0.3, null_rise_stop=0.3, unseen_stop=0.2)
    assert measured(now, stops)[which].state == "stop"
    off = MonitoringConfig(psi_warn=None, null_rise_warn=None, unseen_warn=None)
    assert {one.state for one in measured(now, off).values()} == {"ok"}


def test_few_rows_do_not_drift_by_chance() -> None:
    states = [measured(frame(20, seed))["spend", "psi"] for seed in range(50)]
    assert np.mean([one.value for one in states]) > LIMITS.psi_warn  # type: ignore[operator]
    assert {one.state for one in states} == {"ok"}
    assert measured(frame(20, 0, shift=4))["spend", "psi"].state == "warn"


def test_chance_is_chi_squared_where_rows_are_many() -> None:
    # Yurdakul (2018): PSI is then (1/n + 1/m) times a chi-squared variable; the 99th percentile of 9 degrees is 21.67.
    found = psi_by_chance(np.full(10, 500), 800, level=0.99, draws=20_000)
    assert found == pytest.approx(21.67 * (1 / 5000 + 1 / 800), rel=0.05)
    assert psi_by_chance([10], 10) == 0 == psi_by_chance([0, 0], 5)


def test_a_column_that_is_null_throughout_has_one_bin_and_nulls() -> None:
    rows = pd.DataFrame({"f0": np.full(100, np.nan), "f1": np.full(100, None, dtype=object)})
    _, counter = trained_on(rows)
    counts: Counts = counter.split(counter.count(rows))
    assert counts.null_share(0) == counts.null_share(1) == 1
    assert counts.features[0].tolist() == [0, 100]


def test_lost_rows_and_poor_lift_are_judged() -> None:
    limits = MonitoringConfig(rows_lost_stop=0.5, lift_warn=2, lift_stop=1)
    assert [one.state for one in row_counts(100, None, limits)] == ["ok"]
    assert [one.state for one in row_counts(70, 100, limits)] == ["ok", "warn"]
    assert [one.state for one in row_counts(40, 100, limits)] == ["ok", "stop"]
    assert [realised_lift("x", lift, limits).state for lift in (None, 3.0, 1.5, 0.5)] == ["ok", "ok", "warn", "stop"]


def test_a_refusal_names_the_worst_its_limit_and_the_way_out() -> None:
    from datetime import UTC, datetime

    measures = [
        Measure("feature", "spend", "psi", 0.9, "stop"), Measure("feature", "city", "psi", 0.4, "warn"),
        Measure("score", "score", "psi", 1.7, "stop"),
    ]  # fmt: skip
    scored = Scored("owners", "2026-01-31", "abc", "run", datetime.now(UTC), measures)
    with pytest.raises(InputError, match=r"owners, snapshot 2026-01-31: score: PSI .* 1\.7 \(and 1 more\)") as error:
        scored.refuse()
    assert "--set monitoring.score_psi_stop=null" in str(error.value)
    Scored("owners", None, "abc", "run", datetime.now(UTC), measures[1:2]).refuse()
