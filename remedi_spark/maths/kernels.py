"""The symmetric windows that LDS and FDS smooth with (arXiv 2102.09554, sections 3.1 and 3.2)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from scipy.ndimage import gaussian_filter1d

from remedi_spark.errors import InputError, nearest
from remedi_spark.maths.checks import FloatArray

Kernel = Literal["gaussian", "triang", "laplace"]


def kernel_window(kernel: Kernel, size: int, sigma: float, normalise: Literal["max", "sum"]) -> FloatArray:
    """Return the window, shape (size,), symmetric about its middle.

    Args:
        kernel: ``gaussian`` is a filtered unit impulse, as in the reference code, whose reflecting edges fold the tails
            back in; ``triang`` falls in a straight line to zero just outside the window; ``laplace`` is
            exp(−|distance| / sigma).
        size: odd, in bins.
        sigma: width in bins, above 0; ``triang`` has none.
        normalise: ``max`` makes the middle 1 (LDS), ``sum`` makes the total 1 (FDS).
    """
    check_kernel(kernel, size, sigma)
    distance = np.abs(np.arange(size) - size // 2).astype(np.float64)
    if kernel == "gaussian":
        window: FloatArray = np.asarray(gaussian_filter1d((distance == 0).astype(np.float64), sigma=sigma))
    elif kernel == "triang":
        window = 1 - distance / (size // 2 + 1)
    else:
        window = np.exp(-distance / sigma)
    total: float = window.max() if normalise == "max" else window.sum()
    return window / total


def check_kernel(kernel: str, size: int, sigma: float) -> None:
    """Raise an ``InputError`` that names the argument of a window that cannot be built."""
    known = get_args(Kernel)
    if kernel not in known:
        raise InputError(f"kernel: found {kernel!r}, expected one of {', '.join(known)}{nearest(kernel, known)}")
    if size < 1 or size % 2 == 0:
        raise InputError(f"kernel_size: found {size}, expected an odd number of bins, such as {max(size, 0) + 1}")
    if not 0 < sigma < np.inf:
        raise InputError(f"sigma: found {sigma}, expected a width in bins above 0")
