from __future__ import annotations

import json

import numpy as np
import pytest
from pydantic import ValidationError

from remedi_spark.report.page import model as m
from remedi_spark.report.page.model import Report


def test_json_round_trip_is_exact(report: Report) -> None:
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_undefined_numbers_become_none_in_strict_json() -> None:
    result = m.ModelResult(name="a", kind="base", metrics={"ap": float("nan"), "auc": np.float64("inf")})
    stored = json.loads(result.model_dump_json(), parse_constant=pytest.fail)
    assert stored["metrics"] == {"ap": None, "auc": None}
    assert m.ModelResult.model_validate_json(result.model_dump_json()) == result


def test_numpy_is_accepted_at_any_depth() -> None:
    curve = m.GainsCurve(model="a", share=np.array([0.5, 1.0]), recall=np.array([0.8, 1.0], dtype=np.float32))
    assert curve.share == [0.5, 1.0]
    assert [type(value) for value in curve.recall] == [float, float]
    result = m.ModelResult(
        name="a", kind="base", metrics={"ap": np.float32(0.5)}, intervals={"ap": (np.float64(0.25), 1)}
    )
    assert result.metrics == {"ap": 0.5}
    assert result.intervals == {"ap": (0.25, 1.0)}
    assert m.Segment(column="c", level="l", rows=np.int64(3), positives=np.int32(1)).rows == 3


def test_lengths_that_differ_are_named() -> None:
    with pytest.raises(ValidationError, match="'share': 2, 'recall': 1"):
        m.GainsCurve(model="a", share=[0.5, 1.0], recall=[1.0])
    with pytest.raises(ValidationError, match=r"rows of \{1\}"):
        m.Experts(names=["a", "b"], mean_weight=[0.5, 0.5], by_decile=[[1.0]] * 10)
    with pytest.raises(ValidationError, match="'iteration': 2, 'train': 2, 'valid': 1"):
        m.TrainingCurve(model="a", fold=0, iteration=[1, 2], train=[0.5, 0.4], valid=[0.6])
    with pytest.raises(ValidationError, match="'values': 1"):
        m.Effect(feature="f", values=["x"], mean_score=[], rows=[1])


@pytest.mark.parametrize("share", [[], [0.5, 0.5], [1.0, 0.5]])
def test_a_gains_curve_must_rise(share: list[float]) -> None:
    with pytest.raises(ValidationError, match="rise from point to point"):
        m.GainsCurve(model="a", share=share, recall=[1.0] * len(share))


def test_a_misspelt_part_is_an_error(report: Report) -> None:
    with pytest.raises(ValidationError, match="ablation\n"):
        Report(head=report.head, ablation=[])


def test_parts_are_frozen(report: Report) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        report.head.k = 3
