from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from remedi_spark.errors import InputError
from remedi_spark.maths.priors import correct_negative_sampling, shift_prior, shift_prior_logits

priors = st.floats(0.001, 0.999)


def test_fixtures_of_negative_sampling():
    assert correct_negative_sampling(0.5, 0.01) == pytest.approx(0.00990099, abs=1e-8)
    assert correct_negative_sampling([0.2, 0.0, 1.0], 0.1) == pytest.approx([0.02439024, 0, 1], abs=1e-8)


@given(st.floats(0, 1), priors, priors)
def test_there_and_back_again(p, first, second):
    assert shift_prior(shift_prior(p, first, second), second, first) == pytest.approx(p, abs=1e-9)


@given(st.floats(-30, 30), priors, priors)
def test_logits_and_probabilities_agree(z, first, second):
    assert expit(shift_prior_logits(z, first, second)) == pytest.approx(float(shift_prior(expit(z), first, second)))


def test_the_prior_itself_moves_to_the_new_prior():
    assert shift_prior(0.2, 0.2, 0.005) == pytest.approx(0.005)
    assert shift_prior_logits([logit(0.2)], 0.2, 0.005) == pytest.approx([logit(0.005)])


def test_sampling_negatives_is_a_shift_of_the_prior():
    # 1 positive to 99 negatives; one negative in ten kept leaves 1 to 9.9.
    p = np.linspace(0, 1, 11)
    assert correct_negative_sampling(p, 0.1) == pytest.approx(shift_prior(p, 1 / 10.9, 1 / 100))


def test_recovers_the_truth_from_a_sample():
    rng = np.random.default_rng(0)
    y = rng.random(2_000_000) < 0.01
    kept = y | (rng.random(len(y)) < 0.05)
    assert correct_negative_sampling(y[kept].mean(), 0.05) == pytest.approx(y.mean(), rel=0.02)


@pytest.mark.parametrize("kept_rate", [0, -1, 1.5, float("nan")])
def test_bad_rate_is_named(kept_rate):
    with pytest.raises(InputError, match="kept_rate: found"):
        correct_negative_sampling(0.5, kept_rate)


def test_bad_prior_is_named():
    with pytest.raises(InputError, match="from_prior: found 0"):
        shift_prior(0.5, 0, 0.1)
    with pytest.raises(InputError, match="to_prior: found 1"):
        shift_prior_logits(0.5, 0.1, 1)
