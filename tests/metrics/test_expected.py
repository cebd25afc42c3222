"""The interval of an estimate holds what labels then show, at the rate it says; drift that breaks it is corrected."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from remedi_spark.errors import InputError
from remedi_spark.maths.expected import Correction, Estimate, corrected, estimate, learned, prior_shift
from remedi_spark.maths.ranking import ranking_metrics
from remedi_spark.maths.recalibration import Recalibration, recalibrate, unknown
from remedi_spark.maths.score_grid import BINS, ScoredRows, count_on_grid, log_odds

EXACT = Recalibration(np.array([0.0, 1.0]), np.diag([1e-10, 1e-10]))


def chances(rows: int, rng: np.random.Generator, shift: float = -5.2) -> np.ndarray:
    return expit(rng.normal(shift, 1.3, rows))


def on_grid(p: np.ndarray) -> ScoredRows:
    return ScoredRows.of_counts(count_on_grid(p))


def test_counts_on_the_grid_add_up_to_the_rows() -> None:
    rng = np.random.default_rng(0)
    p = np.concatenate([chances(1000, rng), [0.0, 1.0, 1e-300]])
    parts = count_on_grid(p[:300]) + count_on_grid(p[300:])
    assert parts == pytest.approx(count_on_grid(p))
    assert len(parts) == 2 * BINS
    scored = ScoredRows.of_counts(parts)
    assert scored.total == len(p)
    assert scored.rows @ scored.p == pytest.approx(p.sum())
    assert (np.diff(scored.p) < 0).all(), "highest first"


def test_bins_tell_what_single_rows_tell() -> None:
    p = chances(3000, np.random.default_rng(1))
    fine, exact = (estimate(scored, 210, EXACT, draws=1500) for scored in (on_grid(p), ScoredRows.of(p)))
    for name, one in exact.items():
        assert fine[name].value == pytest.approx(one.value, rel=0.02), name


def test_the_mean_is_that_of_many_worlds() -> None:
    rng = np.random.default_rng(2)
    p = chances(4000, rng)
    worlds = [ranking_metrics(rng.random(4000) < p, p, 280) for _ in range(600)]
    found = estimate(on_grid(p), 280, EXACT, draws=2000)
    for name in ("recall_at_k", "precision_at_k", "lift_at_k", "ap"):
        values = [world[name] for world in worlds]
        assert found[name].value == pytest.approx(np.mean(values), rel=0.03), name
        low, high = np.quantile(values, [0.05, 0.95])
        assert (found[name].low, found[name].high) == pytest.approx((low, high), rel=0.12), name


@pytest.mark.parametrize("positives", [30, 120])
def test_the_interval_holds_the_realised_recall_at_its_rate(positives: int) -> None:
    """Sampling and calibration: the model's slope and intercept are off, and known from a small hold-out only."""
    rng, held, trials = np.random.default_rng(3), 0, 150
    rows = round(positives / 0.012)
    for trial in range(trials):
        a, b = rng.normal(0, 0.3), rng.normal(1, 0.15)

        def draw(size: int, a: float = a, b: float = b) -> tuple[np.ndarray, np.ndarray]:
            z = rng.normal(-5.2, 1.3, size)
            return expit(z), rng.random(size) < expit(a + b * z)

        tested, labels = draw(rows)
        known = recalibrate(*binned(tested, labels, rng.integers(0, 20, rows)))
        scored, truth = draw(rows)
        found = estimate(on_grid(scored), 0.07 * rows, known, draws=100, seed=trial)["recall_at_k"]
        value = ranking_metrics(truth, scored, 0.07 * rows)["recall_at_k"]
        held += found.low <= value <= found.high
    assert 0.85 <= held / trials <= 0.97


def binned(p: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    z = log_odds(p)
    place = np.clip(((z + 12) / 0.25).astype(int), 0, 71)
    rows, positives = np.zeros((20, 72)), np.zeros((20, 72))
    np.add.at(rows, (groups, place), 1)
    np.add.at(positives, (groups, place), labels)
    mean = np.bincount(place, z, 72) / np.maximum(1, rows.sum(axis=0))
    return mean, rows, positives


def test_slope_and_intercept_are_recovered_and_owners_count_once() -> None:
    rng = np.random.default_rng(4)
    z = rng.normal(-3, 1.2, 60_000)
    labels = rng.random(60_000) < expit(0.4 + 0.8 * z)
    known = recalibrate(*binned(expit(z), labels, rng.integers(0, 20, 60_000)))
    assert known.mean == pytest.approx([0.4, 0.8], abs=0.12)
    # The same rows five times over, in the groups that they were in, tell nothing new.
    groups = rng.integers(0, 20, 6000)
    once = recalibrate(*binned(expit(z[:6000]), labels[:6000], groups))
    often = recalibrate(*binned(np.repeat(expit(z[:6000]), 5), np.repeat(labels[:6000], 5), np.repeat(groups, 5)))
    assert np.diag(often.covariance) == pytest.approx(np.diag(once.covariance), rel=0.6)


def test_without_rows_only_the_prior_is_known_and_the_interval_is_wide() -> None:
    assert recalibrate(np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0))).mean.tolist() == [0, 1]
    scored = on_grid(chances(20_000, np.random.default_rng(5)))
    sure, unsure = (estimate(scored, 1400, known)["buyers_at_k"] for known in (EXACT, unknown()))
    assert unsure.high - unsure.low > 2 * (sure.high - sure.low)


def test_a_shift_of_the_prior_breaks_the_naive_estimate_and_is_corrected() -> None:
    rng = np.random.default_rng(6)
    z = rng.normal(-3.5, 1.6, 60_000)
    label = rng.random(60_000) < expit(z)
    prior = label.mean()
    # Three times the odds, the rows of each class being as before.
    taken = np.concatenate([rng.choice(z[label], 4000), rng.choice(z[~label], round(4000 * (1 - prior) / prior / 3))])
    truth = 4000.0
    scored = on_grid(expit(taken))
    naive = estimate(scored, 0.07 * len(taken), EXACT)["buyers"]
    assert not naive.low <= truth <= naive.high
    shift = prior_shift(scored, EXACT, float(prior), sd=1.0)
    assert shift == pytest.approx(np.log(3), abs=0.15)
    moved = Recalibration(EXACT.mean + np.array([shift, 0]), EXACT.covariance)
    assert estimate(scored, 0.07 * len(taken), moved)["buyers"].value == pytest.approx(truth, rel=0.1)
    assert abs(prior_shift(on_grid(expit(z[:2000])), EXACT, float(prior), sd=0.3)) < 0.2, "no shift where there is none"


def test_past_errors_move_and_widen_and_never_narrow() -> None:
    one = Estimate(0.5, 0.4, 0.7)
    assert learned([]) == Correction(0, 1)
    assert learned([(0.5, one)] * 10) == Correction(0, 1)
    often = learned([(0.3, one)] * 18)  # two half-widths below, each time
    assert often.shift == pytest.approx(-1.8)
    assert often.wider == 1, "an error that is always the same is no surprise"
    moved = corrected("recall_at_k", one, often)
    assert moved == Estimate(pytest.approx(0.32), pytest.approx(0.22), pytest.approx(0.52))
    mixed = learned([(0.2, one), (1.2, one)] * 5)
    assert mixed.wider > 2
    assert corrected("recall_at_k", one, mixed).high == 1, "no recall is above 1"
    assert learned([(0.9, one)]).wider >= 1


def test_odd_rows() -> None:
    assert estimate(ScoredRows(np.zeros(0), np.zeros(0)), 5, EXACT) == {}
    assert estimate(on_grid(np.zeros(10)), 5, EXACT) == {}
    assert estimate(on_grid(np.ones(10)), 50, EXACT)["recall_at_k"] == Estimate(1, 1, 1)
    with pytest.raises(InputError, match="k: found 0"):
        estimate(on_grid(np.ones(10)), 0, EXACT)
