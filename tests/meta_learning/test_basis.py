"""Principal components of encoded rows; the head on them as a linear term of a net."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from remedi_spark.models.nets.inputs import InputStats
from remedi_spark.models.nets.models import FieldNet, build
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.reference import Reference
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.segments.maths.arms import BayesArm, Support, fit_arm, margins_of
from remedi_spark.segments.maths.basis import Basis, fit_basis
from remedi_spark.segments.maths.gaussian_head import GaussianPrior
from remedi_spark.segments.maths.segments import SegmentRows
from remedi_spark.segments.meta_model import pack, with_linear_term
from remedi_spark.storage.fitted import Fitted

LAYOUT = Layout((*(Slot(i, "number") for i in range(5)), Slot(5, "code", 3)))


def encoded(rows: int = 400, seed: int = 0) -> np.ndarray:
    """Four counts on two planted directions, one constant, one category; some nulls."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(rows, 2))
    logs = hidden @ np.array([[1.0, 0.8, 0, 0], [0, 0, 1.0, 0.7]]) + 0.1 * rng.normal(size=(rows, 4))
    x = np.column_stack([np.sign(logs) * np.expm1(np.abs(logs)), np.ones(rows), rng.integers(0, 3, rows)])
    x[:7, 1] = np.nan
    return x


def rows_of(x: np.ndarray, name: str = "s", weight: np.ndarray | None = None) -> SegmentRows:
    n = len(x)
    y = (np.arange(n) % 5 == 0).astype(float)
    return SegmentRows(name, x, y, np.arange(n), np.zeros(n, dtype=np.int64), np.ones(n) if weight is None else weight)


def stats() -> InputStats:
    return InputStats.measure(encoded(), LAYOUT, 4)


def test_scores_are_the_whitened_components_that_scikit_learn_finds() -> None:
    x = encoded()
    basis = fit_basis([rows_of(x[:100]), rows_of(x[100:], "t")], stats(), 4)
    design = basis.design(x)
    np.testing.assert_allclose(design[:, 0], 1)
    columns = basis.columns(torch.from_numpy(x)).numpy()
    expected = PCA(4, whiten=True).fit_transform(columns) * np.sqrt(len(x) / (len(x) - 1))
    np.testing.assert_allclose(np.abs(design[:, 1:]), np.abs(expected), atol=1e-6)
    np.testing.assert_allclose(np.cov(design[:, 1:].T, bias=True), np.eye(4), atol=1e-6)


def test_weights_stand_for_rows() -> None:
    x = encoded(60)
    weight = np.where(np.arange(60) < 20, 3.0, 1.0)
    weighted = fit_basis([rows_of(x, weight=weight)], stats(), 3)
    repeated = fit_basis([rows_of(np.concatenate([x, x[:20], x[:20]]))], stats(), 3)
    np.testing.assert_allclose(weighted.design(x), repeated.design(x), atol=1e-6)


def test_no_more_components_than_directions_and_an_outlier_moves_little() -> None:
    basis = fit_basis([rows_of(encoded())], stats(), 50)
    assert basis.dims == 6, "four numbers and three levels that sum to one; the constant is not read"
    far = encoded(3)
    far[0, 0], far[1, 0], far[2, 5] = 1e300, np.nan, 2
    assert np.abs(basis.design(far)).max() < 100


@pytest.fixture(scope="module")
def arm() -> tuple[FieldNet, dict[str, object], BayesArm]:
    """A net, its specification and an arm on it."""
    torch.manual_seed(0)
    spec = {"kind": "deepfm", "embedding_dim": 2, "hidden": [4], "dropout": 0.0, "stats": stats().to_dict()}
    net = build(spec)
    net.eval()
    basis = fit_basis([rows_of(encoded())], stats(), 3)
    prior = GaussianPrior(np.array([0.1, -0.2, 0.3, 0.0]), 0.5 * np.eye(4))
    return net, spec, BayesArm({name: one.detach() for name, one in net.named_parameters()}, basis, prior)


def test_the_students_net_scores_and_explains_as_the_arm_does(
    arm: tuple[FieldNet, dict[str, object], BayesArm],
) -> None:
    net, spec, bayes = arm
    x = encoded(200, seed=1)
    y = (x[:, 0] > np.quantile(x[:, 0], 0.9)).astype(float)
    fitted = fit_arm(net, bayes, Support(x, y, np.ones(200), np.arange(200)))
    assert fitted is not None
    margins = margins_of(net, fitted, x)
    assert np.corrcoef(margins, x[:, 0] > 0)[0, 1] > 0.5, "the support says that the first count decides"
    payload = pack(*with_linear_term(spec, net.state_dict(), fitted.basis, fitted.head))
    student = load_predictor(Fitted("net", payload, {}))
    np.testing.assert_allclose(student(x), margins, atol=1e-5)
    contributions, base = student.contributions(x, Reference.of(np.zeros(6), LAYOUT))
    np.testing.assert_allclose(base + contributions.sum(1), margins, atol=1e-4)
    assert (contributions[:, 4] == 0).all(), "a constant is not read"
    assert torch.load(io.BytesIO(payload), weights_only=True)["spec"]["kind"] == "with_linear_term"


def test_a_basis_comes_back_from_json(arm: tuple[FieldNet, dict[str, object], BayesArm]) -> None:
    basis = arm[2].basis
    again = Basis.from_dict(basis.to_dict(), stats())
    np.testing.assert_array_equal(again.design(encoded()), basis.design(encoded()))
