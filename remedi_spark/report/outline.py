"""How the student's scores are spread over the measured rows: where the list begins, and who decides by decile."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.report.page.model import Experts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyspark.sql import Column, DataFrame

_ACCURACY = 1e-3
_DECILES = 10


@dataclass(frozen=True)
class Listed:
    """The rows of the list, about the best ``share`` of all, and the rest.

    Attributes:
        cut: lowest score on the list; None without rows.
        on: rows with that score or a higher one.
        off: all other rows.
    """

    cut: float | None
    on: int
    off: int


@dataclass(frozen=True)
class Group:
    """Rows of one decile that are all on the list, or all off it.

    Attributes:
        decile: 0: the best tenth.
        listed: whether they are on the list.
        rows: how many.
        gates: by expert, the sum of its gates.
        entropy: sum of the entropies of the rows' gates, in nats.
    """

    decile: int
    listed: bool
    rows: int
    gates: tuple[float, ...]
    entropy: float


@dataclass(frozen=True)
class Outline:
    """What the groups say together.

    Attributes:
        experts: whose gates were summed.
        cut: lowest score on the list; None without rows.
        groups: of all rows.
    """

    experts: tuple[str, ...]
    cut: float | None
    groups: tuple[Group, ...]

    @property
    def listed(self) -> Listed:
        """Where the list begins, and how many rows it has."""
        on = sum(group.rows for group in self.groups if group.listed)
        return Listed(self.cut, on, sum(group.rows for group in self.groups) - on)

    def gate_use(self) -> Experts:
        """Return each expert's mean gate, the mean entropy of a row's gates (divided by ln E), and gates by decile.

        Gates by decile are left out where scores are so tied that a decile is empty.
        """
        deciles = [[one for one in self.groups if one.decile == decile] for decile in range(_DECILES)]
        entropy = sum(group.entropy for group in self.groups) / sum(group.rows for group in self.groups)
        return Experts(
            names=list(self.experts),
            mean_weight=_mean_gates(self.groups),
            entropy=entropy / math.log(len(self.experts)),
            by_decile=[_mean_gates(groups) for groups in deciles] if all(deciles) else [],
        )


def _mean_gates(groups: Sequence[Group]) -> list[float]:
    rows = sum(group.rows for group in groups)
    return [sum(sums) / rows for sums in zip(*[group.gates for group in groups], strict=True)]


def outline(rows: DataFrame, score: str, experts: Sequence[str], share: float) -> Outline:
    """Return the outline of ``rows`` in two passes: one for all quantiles of the score, one for all sums.

    Args:
        rows: ``score``, and ``gate_<expert>`` for each of ``experts``.
        score: column of the score.
        experts: names of the experts; none: no gates are looked at.
        share: of the rows that the list has, in [0, 1].
    """
    wanted = [*[i / _DECILES for i in range(1, _DECILES)], max(0.0, 1.0 - share)]
    found = rows.approxQuantile(score, wanted, _ACCURACY)
    if not found:
        return Outline(tuple(experts), None, ())
    *deciles, cut = found
    gates = [F.col(f"gate_{name}") for name in experts]
    sums = [F.sum(gate) for gate in gates]
    by_group = rows.groupBy(_decile(deciles, F.col(score)), F.col(score) >= F.lit(cut))
    groups = [
        Group(decile, listed, count, tuple(sums), entropy)
        for decile, listed, count, entropy, *sums in by_group.agg(F.count("*"), F.sum(_entropy(gates)), *sums).collect()
    ]
    return Outline(tuple(experts), cut, tuple(groups))


def _decile(cuts: Sequence[float], score: Column) -> Column:
    """Return the decile of a score, 0: the best tenth."""
    above = F.array(*[F.lit(cut) for cut in cuts])
    return F.lit(_DECILES - 1) - F.size(F.filter(above, lambda cut: cut < score))


def _entropy(gates: Sequence[Column]) -> Column:
    return sum((-(gate * F.log(F.greatest(gate, F.lit(1e-12)))) for gate in gates), F.lit(0.0))
