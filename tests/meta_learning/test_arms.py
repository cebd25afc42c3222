"""Which arm to trust, the A/B test's size, the intercept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from remedi_spark.errors import InputError
from remedi_spark.segments.maths.arms import ADAPTED, FINE_TUNED, POOLED, Arm, Prior, Support, choose_arm, intercept
from remedi_spark.segments.maths.inner_loop import InnerLoop
from remedi_spark.segments.maths.trial import plan_trial


class Line(nn.Module):
    """margin = x · w."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        return (x.float() @ self.w).unsqueeze(1)


def arms(start: float = 1.0, rate: float = 0.5) -> dict[str, Arm]:
    """The pooled net reads the first feature; the other arms may learn the second."""
    pooled = {"w": torch.tensor([start, 0.0])}
    return {
        POOLED: Arm(pooled, {}, InnerLoop(0)),
        FINE_TUNED: Arm(pooled, {"w": torch.tensor([0.01])}, InnerLoop(1)),
        ADAPTED: Arm(pooled, {"w": torch.tensor([rate])}, InnerLoop(20)),
    }


def support(feature: int, rows: int = 200, buyers: int = 20) -> Support:
    """Rows in which one of two features decides."""
    x = np.random.default_rng(0).normal(size=(rows, 2))
    y = np.zeros(rows)
    y[np.argsort(-x[:, feature])[:buyers]] = 1
    return Support(x, y, np.ones(rows), np.arange(rows))


def choose(rows: Support, some: dict[str, Arm] | None = None, priors: Any = None) -> Any:
    return choose_arm(Line(), some or arms(), rows, priors or {}, folds=5, repeats=2, seed=0)


def test_a_support_that_speaks_clearly_decides() -> None:
    choice = choose(support(feature=1))
    assert choice.arm == ADAPTED
    assert choice.verdicts[ADAPTED].ap > choice.verdicts[POOLED].ap + 0.3
    assert choice.verdicts[POOLED].difference == 0
    doubtful = {ADAPTED: Prior(-0.01, 0.05), FINE_TUNED: Prior(0.0, 0.05)}
    assert choose(support(feature=1), priors=doubtful).arm == ADAPTED


def test_strong_evidence_of_other_segments_outweighs_a_few_rows() -> None:
    sure = {ADAPTED: Prior(-0.2, 0.001), FINE_TUNED: Prior(-0.2, 0.001)}
    assert choose(support(feature=1), priors=sure).arm == POOLED


def test_the_expected_difference_lies_between_both_kinds_of_evidence() -> None:
    found = choose(support(feature=1), priors={ADAPTED: Prior(0.0, 0.1)}).verdicts[ADAPTED]
    assert 0 < found.expected < found.difference


def test_a_single_buyer_leaves_the_choice_to_the_other_segments() -> None:
    one = support(feature=1, buyers=1)
    assert choose(one, priors={ADAPTED: Prior(0.1, 0.2), FINE_TUNED: Prior(0.05, 0.2)}).arm == ADAPTED
    assert choose(one, priors={ADAPTED: Prior(-0.1, 0.2), FINE_TUNED: Prior(-0.05, 0.2)}).arm == POOLED
    assert choose(one).arm == POOLED, "an arm without any evidence is not trusted"


def test_an_arm_that_diverges_is_never_chosen() -> None:
    wild = arms(rate=float("inf"))
    choice = choose(support(feature=1), wild)
    assert choice.arm != ADAPTED
    assert np.isnan(choice.verdicts[ADAPTED].ap)
    assert np.isfinite(choice.margins).all()


def test_owners_stay_together_in_the_folds() -> None:
    """Each owner twice with the same row: a model that memorises must not gain from it."""
    rng = np.random.default_rng(1)
    x = np.repeat(rng.normal(size=(100, 2)), 2, axis=0)
    y = np.repeat((np.arange(100) < 20).astype(float), 2)
    twice = Support(x, y, np.ones(200), np.repeat(np.arange(100), 2))
    once = Support(x[::2], y[::2], np.ones(100), np.arange(100))
    assert choose(twice).verdicts[ADAPTED].ap == pytest.approx(choose(once).verdicts[ADAPTED].ap, abs=0.1)


def test_the_intercept_meets_the_rate() -> None:
    margins, weight = np.random.default_rng(0).normal(size=500) * 3, np.random.default_rng(1).random(500)
    shift = intercept(margins, 0.013, weight)
    assert np.average(1 / (1 + np.exp(-(margins + shift))), weights=weight) == pytest.approx(0.013, rel=1e-6)


def test_sample_size_of_two_proportions() -> None:
    """p₁ = .65, p₂ = .75, level .05, power .80: 328.47 a group before rounding up, worked out by hand."""
    plan = plan_trial(0.65, 0.75 / 0.65, 100)
    assert plan.per_group == 329
    assert plan.campaigns == 7
    assert plan_trial(0.02, 2.0, 100).per_group < plan_trial(0.02, 1.2, 100).per_group


@pytest.mark.parametrize(("rate", "lift", "budget"), [(0.0, 1.2, 10), (0.9, 1.2, 10), (0.02, 1.0, 10), (0.02, 1.2, 0)])
def test_a_test_that_cannot_be_planned_is_refused(rate: float, lift: float, budget: int) -> None:
    with pytest.raises(InputError, match="A/B test: found"):
        plan_trial(rate, lift, budget)
