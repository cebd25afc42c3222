"""How many owners an A/B test needs to show a lift, and whether the budget reaches them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from remedi_spark.errors import InputError


@dataclass(frozen=True)
class TrialPlan:
    """An A/B test: one group contacted by score, one at random.

    Attributes:
        per_group: owners in each group.
        budget_owners: owners that one campaign may contact.
        campaigns: campaigns until both groups are full, within the budget.
    """

    base_rate: float
    lift: float
    per_group: int
    budget_owners: int
    campaigns: int


def plan_trial(
    base_rate: float, lift: float, budget_owners: int, *, level: float = 0.05, power: float = 0.8
) -> TrialPlan:
    """Return the sample size of a two-sided test of two proportions.

    n = (z₁ √(2 p̄ q̄) + z₂ √(p₁ q₁ + p₂ q₂))² / (p₁ − p₂)² a group, with p₁ the base rate and p₂ = lift · p₁ (Fleiss,
    Levin and Paik, *Statistical Methods for Rates and Proportions*, 3rd edition, formula 4.14, without the continuity
    correction).

    Raises:
        InputError: a rate outside (0, 1), also after the lift; a lift of 1, which no test can show.
    """
    target = base_rate * lift
    if not 0 < base_rate < 1 or not 0 < target < 1 or lift == 1:
        raise InputError(
            f"A/B test: found base rate {base_rate:g} and lift {lift:g}, expected rates between 0 and 1 that differ"
        )
    if budget_owners < 1:
        raise InputError(f"A/B test: found a budget of {budget_owners} owners, expected at least 1")
    normal = NormalDist()
    z1, z2 = normal.inv_cdf(1 - level / 2), normal.inv_cdf(power)
    mean = (base_rate + target) / 2
    spread = z1 * math.sqrt(2 * mean * (1 - mean)) + z2 * math.sqrt(base_rate * (1 - base_rate) + target * (1 - target))
    per_group = math.ceil((spread / (target - base_rate)) ** 2)
    return TrialPlan(base_rate, lift, per_group, budget_owners, math.ceil(2 * per_group / budget_owners))
