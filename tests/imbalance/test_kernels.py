from __future__ import annotations

import numpy as np
import pytest

from remedi_spark.errors import InputError
from remedi_spark.maths.kernels import kernel_window


@pytest.mark.parametrize(
    ("kernel", "size", "sigma", "normalise", "expected"),
    [
        ("gaussian", 5, 2, "max", [0.85828524, 0.94582765, 1]),
        ("gaussian", 9, 1, "max", [0.00033546, 0.011109, 0.13533528, 0.60653066, 1]),
        ("triang", 5, 2, "max", [1 / 3, 2 / 3, 1]),
        ("laplace", 5, 2, "max", [0.36787944, 0.60653066, 1]),
        ("gaussian", 5, 2, "sum", [0.18625069, 0.20524769, 0.21700326]),
        ("gaussian", 1, 2, "max", [1]),
    ],
)
def test_fixtures(kernel, size, sigma, normalise, expected):
    window = kernel_window(kernel, size, sigma, normalise)
    assert window == pytest.approx([*expected, *expected[-2::-1]], abs=2e-8)


@pytest.mark.parametrize("kernel", ["gaussian", "triang", "laplace"])
def test_windows_are_symmetric_fall_from_the_middle_and_sum_to_one(kernel):
    window = kernel_window(kernel, 9, 1.5, "sum")
    assert (window == window[::-1]).all() and (np.diff(window[:5]) > 0).all()
    assert window.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("gausian", 5, 2), "kernel: found 'gausian'.*did you mean 'gaussian'"),
        (("gaussian", 4, 2), "kernel_size: found 4, expected an odd number of bins, such as 5"),
        (("gaussian", -1, 2), "kernel_size: found -1"),
        (("gaussian", 5, 0), "sigma: found 0"),
    ],
)
def test_bad_input_is_named(arguments, word):
    with pytest.raises(InputError, match=word):
        kernel_window(*arguments, "max")
