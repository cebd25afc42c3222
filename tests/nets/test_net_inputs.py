"""Inputs, pooling, the pairwise term and attribution, each against what it should be by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from remedi_spark.models.nets.attribution import integrated_gradients
from remedi_spark.models.nets.inputs import InputStats, TabularInput
from remedi_spark.models.nets.models import NETS, build
from remedi_spark.models.nets.training import margin, pooled
from remedi_spark.samples.layout import Layout, Slot

LAYOUT = Layout((Slot(0, "number"), Slot(1, "number"), Slot(2, "number"), Slot(3, "code", 4)))
EMBEDDED = {"embedding_dim": 4, "dropout": 0.1}
SHAPES: dict[str, dict[str, Any]] = {
    "additive": {},
    "mlp": {**EMBEDDED, "hidden": [8]},
    "tabm": {**EMBEDDED, "members": 3, "blocks": 1, "width": 8},
    "deepfm": {**EMBEDDED, "hidden": [8]},
    "ft_transformer": {**EMBEDDED, "blocks": 2, "heads": 2},
    "with_linear_term": {"net": {"kind": "mlp", **EMBEDDED, "hidden": [8]}, "mean": [0.0] * 6, "scale": [1.0] * 6},
}


def _x(rows: int = 200) -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(10, 3, size=(rows, 4))
    x[::5, 1] = np.nan
    x[:, 2] = 4.0  # constant
    x[:, 3] = rng.integers(0, 3, rows)
    return x


def _net(kind: str) -> Any:
    torch.manual_seed(1)
    stats = InputStats.measure(_x(), LAYOUT, 8)
    net = build({"kind": kind, "stats": stats.to_dict(), **SHAPES[kind]})
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.eval()


def test_stats_leave_out_constants_and_see_nulls() -> None:
    stats = InputStats.measure(_x(), LAYOUT, 8)
    assert (stats.numbers, stats.codes, stats.cardinalities) == ([0, 1], [3], [4])
    assert stats.missing == [False, True]
    known = _x()[~np.isnan(_x()[:, 1]), 1]
    assert (stats.center[1], stats.scale[1]) == pytest.approx((np.median(known), known.std()))
    np.testing.assert_allclose(
        np.array(stats.edges[1]) * known.std() + np.median(known), np.quantile(known, np.linspace(0, 1, 9))
    )


def test_a_null_is_the_median_and_an_embedding_of_its_own() -> None:
    net = _net("mlp")
    row = _x()[:2].copy()
    row[0, 1], row[1, 1] = np.nan, net._stats.center[1]
    row[1, [0, 2, 3]] = row[0, [0, 2, 3]]
    null, median = net.embed(torch.from_numpy(row))
    torch.testing.assert_close(null[1] - median[1], net.input.null[1])
    torch.testing.assert_close(null[[0, 2]], median[[0, 2]])


def test_values_beyond_the_training_range_are_clipped_to_it() -> None:
    net = _net("deepfm")
    x = _x()
    low, high = np.nanmin(x[:, 0]), np.nanmax(x[:, 0])
    rows = np.repeat(x[:1], 4, axis=0)
    rows[:, 0] = [low, low - 1e6, high, high + 1e300]
    margins = margin(net, rows)
    assert margins[0] == pytest.approx(margins[1])
    assert margins[2] == pytest.approx(margins[3])
    assert margins[0] != pytest.approx(margins[2])


@pytest.mark.parametrize("sentinel", [1e30, 1e300, -1.7976931348623157e308])
def test_a_sentinel_among_the_values_leaves_the_net_finite(sentinel: float) -> None:
    x = _x()
    x[:3, 0] = sentinel
    stats = InputStats.measure(x, LAYOUT, 8)
    torch.manual_seed(0)
    fields = TabularInput(stats, 4)(torch.from_numpy(x))
    assert torch.isfinite(fields).all()


def test_no_field_at_all_is_an_error() -> None:
    stats = InputStats.measure(np.ones((10, 1)), Layout((Slot(0, "number"),)), 8)
    with pytest.raises(ValueError, match="no field to embed"):
        TabularInput(stats, 4)


@pytest.mark.parametrize("kind", NETS)
def test_one_logit_a_member_and_none_without_rows(kind: str) -> None:
    net = _net(kind)
    members = 3 if kind == "tabm" else 1
    assert net(torch.from_numpy(_x(7))).shape == (7, members)
    assert net(torch.empty(0, 4, dtype=torch.float64)).shape == (0, members)
    assert margin(net, np.empty((0, 4))).shape == (0,)
    np.testing.assert_allclose(margin(net, _x(), batch=7), margin(net, _x()), rtol=1e-5, atol=1e-6)


def test_pooling_is_the_log_odds_of_the_mean_probability() -> None:
    logits = torch.tensor([[0.3, -2.0, 1.0], [-800.0, -810.0, -805.0]], dtype=torch.float64)
    mean = torch.sigmoid(logits[0]).mean()
    found = pooled(logits, True)
    assert float(found[0]) == pytest.approx(float(torch.log(mean / (1 - mean))))
    assert float(found[1]) == pytest.approx(-800 - np.log(3), abs=0.01), "no underflow"
    torch.testing.assert_close(pooled(logits, False), logits.mean(1))


def test_the_pairwise_term_of_deepfm_is_the_sum_over_pairs() -> None:
    net = _net("deepfm")
    with torch.no_grad():
        for parameter in (*net.linear.parameters(), *net.body.parameters(), *net.head.parameters()):
            parameter.zero_()
        net.pairwise.fill_(1.0)
        fields = net.embed(torch.from_numpy(_x(5)))
        count = fields.shape[1]
        pairs = sum((fields[:, i] * fields[:, j]).sum(1) for i in range(count) for j in range(i))
        torch.testing.assert_close(net.from_fields(fields)[:, 0], pairs / count)


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("pool", [True, False])
def test_contributions_complete_the_margin_and_spare_unread_slots(kind: str, pool: bool) -> None:
    net, x = _net(kind), _x(50)
    by_slot, base = integrated_gradients(net, x, pool=pool)
    np.testing.assert_allclose(by_slot.sum(1) + base, margin(net, x, pool=pool), atol=1e-5)
    assert not by_slot[:, 2].any(), "the constant slot is not read"
    reference = net.reference_row(4)
    np.testing.assert_allclose(base, margin(net, np.repeat(reference, 50, axis=0), pool=pool), atol=1e-6)


def test_contributions_of_an_additive_net_are_its_terms() -> None:
    """Without hidden layers and pairs, what a slot adds is its own linear term less the reference's."""
    net = _net("deepfm")
    with torch.no_grad():
        net.pairwise.zero_()
        for parameter in net.head.parameters():
            parameter.zero_()
        x = torch.from_numpy(_x(20))
        weights = net.linear.weight.view(-1, 4)
        terms = (net.embed(x) * weights).sum(-1) - (net.embed(torch.from_numpy(net.reference_row(4))) * weights).sum(-1)
    by_slot, _ = integrated_gradients(net, x.numpy(), pool=False)
    np.testing.assert_allclose(by_slot[:, net.slots()], terms.numpy(), atol=1e-5)
