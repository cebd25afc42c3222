"""The scale of a regression's labels: there and back, bounds, storage."""

from __future__ import annotations

import json

import numpy as np
import pytest

from remedi_spark.errors import InputError
from remedi_spark.maths.calibrators import PlattCalibrator
from remedi_spark.maths.label_scale import LabelScale, score_map_from_dict

LABELS = np.array([-3.0, 0.0, 1e-9, 0.5, 40.0, 1e7])


@pytest.mark.parametrize("scale", ["linear", "asinh"])
def test_amounts_come_back(scale: str) -> None:
    kept = LabelScale(scale, 2.0, 1.5, 3.0, -np.inf)  # type: ignore[arg-type]
    np.testing.assert_allclose(kept(kept.margin(LABELS)), LABELS, rtol=1e-12, atol=1e-9)


def test_asinh_is_linear_near_zero_and_logarithmic_far_from_it() -> None:
    scale = LabelScale("asinh", 10.0, 0.0, 1.0, -np.inf)
    assert scale.margin([0.01])[0] == pytest.approx(0.001, rel=1e-6)
    assert np.diff(scale.margin([1e5, 1e6]))[0] == pytest.approx(np.log(10), rel=1e-6)


def test_no_prediction_is_below_the_bound_or_infinite() -> None:
    scale = LabelScale("asinh", 10.0, 0.0, 1.0, 0.0)
    assert scale([-4.0])[0] == 0
    assert np.isfinite(scale([1e9])).all()


def test_a_stored_scale_or_calibrator_is_found_again() -> None:
    scale = LabelScale("linear", 1.0, 2.0, 3.0, -np.inf)
    assert score_map_from_dict(json.loads(json.dumps(scale.to_dict()))) == scale
    platt = PlattCalibrator(2.0, 1.0)
    assert score_map_from_dict(platt.to_dict()) == platt
    with pytest.raises(InputError, match="found kind 'platt'"):
        LabelScale.from_dict(platt.to_dict())
