from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remedi_spark.errors import InputError
from remedi_spark.maths.kernels import kernel_window
from remedi_spark.maths.label_density import LabelDensity, width_edges

AGES = np.repeat([20, 21, 22, 25], [10, 40, 4, 1])


def label_density(labels, edges=None, **settings):
    """Smooth the histogram of labels, in bins of one whole number each where no edges are given, as the paper's."""
    if edges is None:
        edges = np.arange(np.floor(min(labels)), np.floor(max(labels)) + 2)
    return LabelDensity.from_histogram(edges, np.histogram(labels, edges)[0], **settings)


def lds_weights(labels, edges=None, **settings):
    return label_density(labels, edges, **settings).weight_of(labels)


def of_each_age(weights):
    return weights[[0, 10, 50, 54]]


def test_fixtures():
    assert of_each_age(lds_weights(AGES)) == pytest.approx([0.863611, 0.836919, 0.87691, 9.379499], abs=1e-6)
    inverse = lds_weights(AGES, reweight="inverse")
    assert of_each_age(inverse) == pytest.approx([0.980852, 0.965032, 0.9972, 2.601392], abs=1e-6)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("reweight", ["sqrt_inv", "inverse"])
@pytest.mark.parametrize("kernel", ["gaussian", "triang", "laplace"])
def test_equals_the_reference_arithmetic_on_its_121_age_bins(kernel, reweight, exact):
    rng = np.random.default_rng(0)
    ages = np.clip(rng.normal(35, 12, 3_000), 0, 110).astype(int)
    counts = np.bincount(ages, minlength=121).astype(float)
    window = kernel_window(kernel, 5, 2, "max")
    counts = np.sqrt(counts) if reweight == "sqrt_inv" else np.clip(counts, 5, 1000)
    smoothed = np.convolve(counts, window, mode="same")
    if reweight == "inverse" and not exact:
        smoothed = np.floor(smoothed + 1e-9)
    expected = 1 / smoothed[ages]
    found = lds_weights(ages, reweight=reweight, kernel=kernel, exact=exact)
    assert found == pytest.approx(expected / expected.mean())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.sampled_from(["sqrt_inv", "inverse", "none"]),
    st.sampled_from([1, 3, 9]),
    st.integers(1, 40),
)
def test_weights_are_positive_with_mean_one(labels, reweight, kernel_size, n_bins):
    edges = width_edges(min(labels), max(labels), n_bins)
    weights = lds_weights(labels, edges, reweight=reweight, kernel_size=kernel_size)
    assert (weights > 0).all() and np.isfinite(weights).all()
    assert weights.mean() == pytest.approx(1)


def test_without_smoothing_every_bin_weighs_its_inverse_density():
    weights = of_each_age(lds_weights(AGES, kernel_size=1))
    assert weights / weights[0] == pytest.approx(np.sqrt([1, 10 / 40, 10 / 4, 10]))


def test_quantile_bins_weigh_by_rows_per_width():
    labels = np.random.default_rng(0).exponential(size=20_000)
    density = label_density(labels, np.quantile(labels, np.linspace(0, 1, 21)), kernel_size=1)
    at = np.array([0.1, 1.0, 2.0])
    # The density of Exp(1) is e^(−x), whose inverse root is e^(x / 2).
    relative = density.weight_of(at) / density.weight_of([0.1])
    assert relative == pytest.approx(np.exp((at - 0.1) / 2), rel=0.1)


def test_labels_outside_the_training_range_get_the_nearest_bin():
    density = label_density(AGES)
    assert density.weight_of([-1e9, 19.5, 26.0, 1e9]) == pytest.approx(density.weight_of([20, 20, 25, 25]))


def test_an_empty_bin_is_smoothed_over_or_takes_its_nearest_neighbour():
    density = label_density([0, 0, 10], kernel_size=3)
    assert np.isfinite(density.weights).all()
    weight = density.weight_of([0, 1, 4, 5, 6, 9, 10])
    assert weight[1] > weight[0]  # reached by the window, thinner than the bin itself
    assert weight[2] == weight[3] == weight[1] and weight[4] == weight[5]


def test_constant_labels_and_one_bin_weigh_one():
    for constant in (3.5, 1e15):
        assert (lds_weights(np.full(7, constant), width_edges(constant, constant)) == 1).all()
    assert lds_weights([1.0, 2.0, 9.0], width_edges(1, 9, 1)) == pytest.approx([1, 1, 1])


def test_reweight_none_gives_ones():
    assert (lds_weights(AGES, reweight="none") == 1).all()


def test_a_window_wider_than_the_histogram_is_cut_off():
    found = lds_weights([0, 0, 0, 1], kernel="triang", kernel_size=9)
    root, step = np.sqrt(3), 4 / 5
    expected = 1 / np.array([root + step, root + step, root + step, 1 + step * root])
    assert found == pytest.approx(expected / expected.mean())


def test_the_two_steps_on_a_cluster_equal_the_one_in_numpy():
    labels = np.random.default_rng(1).gamma(2, 30, 5_000)
    edges = width_edges(labels.min(), labels.max(), 40)
    parts = np.array_split(labels, 3)
    counts = sum(np.histogram(part, edges)[0] for part in parts)
    density = LabelDensity.from_histogram(edges, counts)
    stored = LabelDensity.from_dict(json.loads(json.dumps(density.to_dict())))
    assert stored == density
    weights = np.concatenate([stored.weight_of(part) for part in parts])
    assert weights == pytest.approx(lds_weights(labels, edges))


def test_edges():
    assert width_edges(0, 1, 4).tolist() == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"reweight": "sqrt"}, "reweight: found 'sqrt'.*did you mean 'sqrt_inv'"),
        ({"kernel_size": 4}, "kernel_size: found 4"),
    ],
)
def test_bad_input_is_named(changed, word):
    with pytest.raises(InputError, match=word):
        lds_weights([1, 2], **changed)


def test_bad_histogram_is_named():
    with pytest.raises(InputError, match="edges: found 2 for 2 counts"):
        LabelDensity.from_histogram([0, 1], [1, 1])
    with pytest.raises(InputError, match="n_bins: found 0"):
        width_edges(0, 1, 0)
    for label in (np.nan, np.inf):
        with pytest.raises(InputError, match=f"labels: found {label} in row 1"):
            label_density(AGES).weight_of([1, label])
    with pytest.raises(InputError, match="counts: found 0 rows"):
        LabelDensity.from_histogram([0, 1, 2], [0, 0])


def test_a_mixture_of_weights_is_the_mixture_of_two_losses():
    rng = np.random.default_rng(0)
    labels = rng.lognormal(1, 1, 500)
    density = label_density(labels, width_edges(labels.min(), labels.max(), 20), reweight="inverse", exact=True)
    weights, mixed = density.weight_of(labels), density.mixed(0.25).weight_of(labels)
    assert mixed.mean() == pytest.approx(1) and mixed.min() >= 0.75
    for constant in (1.0, 5.0, 20.0):  # any model's squared errors
        errors = (labels - constant) ** 2
        assert mixed @ errors == pytest.approx(0.75 * errors.sum() + 0.25 * weights @ errors)
    assert density.mixed(1) == density and set(density.mixed(0).weights) == {1.0}
    with pytest.raises(InputError, match=r"share: found 1\.5"):
        density.mixed(1.5)
