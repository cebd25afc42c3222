"""Ways to score one segment, and the evidence on each.

``pooled``: the net of all segments. ``fine_tuned``: after plain gradient steps on the support. ``adapted``: the
meta-learned start after its inner loop. ``bayes``: the pooled net plus a linear head on principal components, at its
posterior mode under the prior that the learning segments taught; ``trees``: the same over the margin of boosted trees.
The support's evidence (paired differences of cross-validated AP against ``pooled``) is combined with that of the
meta-validation segments, by precision (normal-normal empirical Bayes, Efron and Morris, 1975).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call

from remedi_spark.maths.ranking import average_precision
from remedi_spark.segments.maths.basis import Basis
from remedi_spark.segments.maths.gaussian_head import GaussianPrior, Labelled, posterior_mode
from remedi_spark.segments.maths.inner_loop import InnerLoop, Parameters, adapt, net_loss
from remedi_spark.segments.maths.segments import as_rows
from remedi_spark.segments.maths.trees import Trees

Array = npt.NDArray[np.float64]
POOLED, FINE_TUNED, ADAPTED, BAYES, TREES = "pooled", "fine_tuned", "adapted", "bayes", "trees"
LOSS = "per_positive"
"""Loss on the rows of segments, in meta-training and in every arm; see ``inner_loop.net_loss``."""


@dataclass(frozen=True)
class Arm:
    """A start and how it moves on the support; without steps the start is the arm."""

    start: Parameters
    rates: Mapping[str, Tensor]
    loop: InnerLoop


@dataclass(frozen=True)
class BayesArm:
    """A start that stays as it is, and the prior of a linear head on a basis that is added to its margin.

    With ``trees`` the head is added to their margin instead, and the start is not used.
    """

    start: Parameters
    basis: Basis
    prior: GaussianPrior
    trees: Trees | None = None


@dataclass(frozen=True)
class FittedArm:
    """A net's parameters after adaptation, and the head (1 + dims,) on a basis, if the arm has one.

    With ``trees`` the margin is theirs plus the head's.
    """

    parameters: Parameters
    basis: Basis | None = None
    head: Array | None = None
    trees: Trees | None = None


@dataclass(frozen=True)
class Support:
    """Labelled rows of one segment: x (n, width), y, weight and number of the owner (n,)."""

    x: Array
    y: Array
    weight: Array
    owner: npt.NDArray[np.int64]

    def take(self, mask: npt.NDArray[np.bool_]) -> Support:
        """Return the rows of a mask."""
        return Support(self.x[mask], self.y[mask], self.weight[mask], self.owner[mask])


@dataclass(frozen=True)
class Prior:
    """What the meta-validation segments say of an arm's AP less the pooled arm's: mean and deviation over segments."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Verdict:
    """Evidence on one arm.

    Attributes:
        ap: cross-validated on the support, mean over the repeats; nan when the arm diverged.
        difference: ``ap`` less that of the pooled arm.
        error: standard error of the difference.
        expected: difference to expect, by both kinds of evidence.
    """

    ap: float
    difference: float
    error: float
    expected: float


@dataclass(frozen=True)
class Choice:
    """The arm to trust, the evidence on each, and out-of-fold margins of the chosen one, shape (n,)."""

    arm: str
    verdicts: dict[str, Verdict]
    margins: Array


def fit_arm(net: nn.Module, arm: Arm | BayesArm, support: Support) -> FittedArm | None:
    """Return the arm after adaptation; None when a step left the finite numbers."""
    if isinstance(arm, BayesArm):
        offset = net_margins(net, arm.start, support.x) if arm.trees is None else arm.trees(support.x)
        rows = Labelled(arm.basis.design(support.x), support.y, support.weight, offset)
        return FittedArm(arm.start, arm.basis, posterior_mode(rows, arm.prior), arm.trees)
    batch = as_rows(support.x, support.y, support.weight)
    fitted = adapt(net_loss(net, LOSS), arm.start, arm.rates, batch, arm.loop, first_order=True)
    if not all(bool(value.isfinite().all()) for value in fitted.values()):
        return None
    return FittedArm({name: value.detach() for name, value in fitted.items()})


def margins_of(net: nn.Module, fitted: FittedArm, x: Array) -> Array:
    """Return one margin a row, shape (n,)."""
    margins = net_margins(net, fitted.parameters, x) if fitted.trees is None else fitted.trees(x)
    if fitted.basis is None or fitted.head is None:
        return margins
    return margins + fitted.basis.design(x) @ fitted.head


def net_margins(net: nn.Module, parameters: Parameters, x: Array) -> Array:
    """Return one margin a row of the net with some parameters, shape (n,)."""
    with torch.no_grad():
        margins: Array = functional_call(net, parameters, (torch.from_numpy(x),)).mean(1).double().numpy()
    return margins


def choose_arm(
    net: nn.Module, arms: Mapping[str, Arm | BayesArm], support: Support, priors: Mapping[str, Prior],
    *, folds: int, repeats: int, seed: int, wanted: str | None = None,
) -> Choice:  # fmt: skip
    """Choose an arm, with the evidence on each; with fewer than two buyers or other owners the priors alone are it.

    Args:
        net: any net (its own parameters are not used).
        arms: by name, ``pooled`` among them.
        support: all labelled rows of the segment.
        priors: by arm; an arm without one starts at (0, infinity): the support alone decides.
        folds: stratified; at most as many as there are rows of the rarer class.
        repeats: times the folds are dealt anew.
        seed: of the folds, which keep an owner's rows together.
        wanted: the arm to take if it does not diverge; None: the one with the largest expected difference.
    """
    buyers = len(np.unique(support.owner[support.y > 0]))
    folds = min(folds, buyers, len(np.unique(support.owner)) - buyers)
    if folds < 2:
        margins = {name: _fitted_margins(net, arm, support) for name, arm in arms.items()}
        verdicts = {name: _by_prior(name, priors, margins[name]) for name in arms}
        return _chosen(verdicts, margins, wanted)
    rng = np.random.default_rng(seed)
    dealt = [_stratified(support, folds, rng) for _ in range(repeats)]
    margins = {
        name: np.mean([_out_of_fold(net, arm, support, fold) for fold in dealt], axis=0) for name, arm in arms.items()
    }
    verdicts = {name: _verdict(name, margins, support, priors.get(name), rng) for name in arms}
    return _chosen(verdicts, margins, wanted)


def _chosen(verdicts: dict[str, Verdict], margins: Mapping[str, Array], wanted: str | None) -> Choice:
    if wanted is not None and np.isfinite(margins[wanted]).all():
        return Choice(wanted, verdicts, margins[wanted])
    finite = {name: verdict.expected for name, verdict in verdicts.items() if np.isfinite(verdict.expected)}
    arm = max(finite, key=lambda name: (finite[name], name == POOLED))
    return Choice(arm, verdicts, margins[arm])


def _fitted_margins(net: nn.Module, arm: Arm | BayesArm, support: Support) -> Array:
    fitted = fit_arm(net, arm, support)
    return np.full(len(support.y), np.nan) if fitted is None else margins_of(net, fitted, support.x)


def _by_prior(name: str, priors: Mapping[str, Prior], margins: Array) -> Verdict:
    usable = bool(np.isfinite(margins).all())
    expected = priors[name].mean if name in priors else (0.0 if name == POOLED else -np.inf)
    return Verdict(np.nan, np.nan, np.nan, 0.0 if name == POOLED else expected if usable else np.nan)


def _stratified(support: Support, folds: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Deal owners, buyers and others apart, round robin in random order; return the fold of each row, shape (n,)."""
    owners, number = np.unique(support.owner, return_inverse=True)
    buys = np.zeros(len(owners), dtype=bool)
    np.logical_or.at(buys, number, support.y > 0)
    fold = np.empty(len(owners), dtype=np.int64)
    for kind in (False, True):
        some = rng.permutation(np.flatnonzero(buys == kind))
        fold[some] = np.arange(len(some)) % folds
    return fold[number]


def _out_of_fold(net: nn.Module, arm: Arm | BayesArm, support: Support, fold: npt.NDArray[np.int64]) -> Array:
    margins = np.full(len(support.y), np.nan)
    for k in range(int(fold.max()) + 1):
        fitted = fit_arm(net, arm, support.take(fold != k))
        if fitted is not None:
            margins[fold == k] = margins_of(net, fitted, support.x[fold == k])
    return margins


def _verdict(
    name: str, margins: Mapping[str, Array], support: Support, prior: Prior | None, rng: np.random.Generator
) -> Verdict:
    own, base = margins[name], margins[POOLED]
    if not np.isfinite(own).all():
        return Verdict(np.nan, np.nan, np.nan, np.nan)
    ap = average_precision(support.y, own, support.weight)
    if name == POOLED:
        return Verdict(ap, 0.0, 0.0, 0.0)
    difference = ap - average_precision(support.y, base, support.weight)
    error = _bootstrap_error(own, base, support, rng)
    return Verdict(ap, difference, error, _shrunk(difference, error, prior))


def _bootstrap_error(
    own: Array, base: Array, support: Support, rng: np.random.Generator, resamples: int = 100
) -> float:
    """Return the standard error of the paired difference in AP, rows of either class resampled apart."""
    positive, negative = np.flatnonzero(support.y > 0), np.flatnonzero(support.y == 0)
    found = []
    for _ in range(resamples):
        rows = np.concatenate([rng.choice(part, len(part)) for part in (positive, negative)])
        scores = [average_precision(support.y[rows], margins[rows], support.weight[rows]) for margins in (own, base)]
        found.append(scores[0] - scores[1])
    return float(np.std(found))


def _shrunk(difference: float, error: float, prior: Prior | None) -> float:
    """Return the posterior mean of a difference seen with an error, under a normal prior."""
    if prior is None:
        return difference
    trust, doubt = 1 / max(error, 1e-6) ** 2, 1 / max(prior.deviation, 1e-6) ** 2
    return (difference * trust + prior.mean * doubt) / (trust + doubt)


def intercept(margins: Array, rate: float, weight: Array) -> float:
    """Return b with weighted mean σ(margin + b) = rate: the one number that ten positives can calibrate."""
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        mean = float(np.average(1 / (1 + np.exp(-np.clip(margins + middle, -500, 500))), weights=weight))
        low, high = (middle, high) if mean < rate else (low, middle)
    return (low + high) / 2
