"""What is written to ``metrics.json`` for each kind of label, in which order."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from remedi_spark.config.regression import RegressionConfig
from remedi_spark.labels.measured import Fidelity
from remedi_spark.labels.weights import Errors, RowWeights
from remedi_spark.report.metrics import Ablation, Metrics
from remedi_spark.report.page.model import FailedMember, Shipped

COMMON: dict[str, Any] = {
    "label": "buys", "rows": 100, "k": 8, "measured_on": "other owners", "budget": 0.075, "seed": 0,
    "fidelity": Fidelity(spearman=math.nan, top_k_overlap=0.5), "student": Shipped(kind="distilled", names=["mlp"]),
    "warnings": ["few rows"], "failed": [FailedMember(model="xgboost", phase="final", reason="no room")],
    "fits": {"mlp": {"rows_used": [50, 50], "epochs": [3, 4]}},
}  # fmt: skip


def test_a_classification_writes_its_positives_and_nothing_of_amounts() -> None:
    metrics = Metrics(
        task="classification", positives=5, prior=0.05, models={"student": {"ap": 0.5, "brier": math.nan}},
        intervals={"student": {"ap": (0.25, math.nan)}}, retention={"ap": 1.0, "recall_at_k": math.nan},
        ablations={"no_experts": Ablation(instead_of="fuser", ap_lost=(0.5, 0.25, math.nan))}, **COMMON,
    )  # fmt: skip
    written = json.dumps(metrics.tree(), allow_nan=False)
    assert written == json.dumps({
        "task": "classification", "label": "buys", "rows": 100, "positives": 5, "prior": 0.05, "k": 8,
        "measured_on": "other owners", "budget": 0.075, "seed": 0, "models": {"student": {"ap": 0.5, "brier": None}},
        "intervals": {"student": {"ap": [0.25, None]}}, "retention": {"ap": 1.0, "recall_at_k": None},
        "ablations": {"no_experts": {"instead_of": "fuser", "ap_lost": [0.5, 0.25, None]}},
        "fidelity": {"spearman": None, "top_k_overlap": 0.5},
        "student": {"kind": "distilled", "names": ["mlp"], "weights": {}, "models_each": 1, "kept": None},
        "warnings": ["few rows"],
        "failed": [{"model": "xgboost", "phase": "final", "reason": "no room"}],
        "fits": {"mlp": {"rows_used": [50, 50], "epochs": [3, 4]}},
    })  # fmt: skip


def test_a_regression_writes_its_total_its_shots_and_all_of_its_settings() -> None:
    errors = {"rows": 3.0, "mae": 0.5, "mse": 0.25, "rmse": 0.5, "gmae": math.nan}
    weights = RowWeights(kind="inverse", share=0.25, tried={"inverse_25": Errors(1.0, 2.0)})
    tree = Metrics(
        task="regression", total=9.5, positives=None, prior=None, models={}, intervals={}, retention={"mae": 1.0},
        shots={"student": {"few": errors}}, regression=RegressionConfig(), row_weights=weights, **COMMON,
    ).tree()  # fmt: skip
    assert list(tree)[2:6] == ["rows", "total", "positives", "prior"]
    assert (tree["positives"], tree["prior"]) == (None, None)
    assert tree["shots"] == {"student": {"few": {**errors, "gmae": None}}}
    assert tree["regression"] == RegressionConfig().model_dump(mode="json")
    assert tree["row_weights"] == {
        "kind": "inverse", "share": 0.25, "tried": {"inverse_25": {"mae": 1.0, "balanced": 2.0}},
    }  # fmt: skip
    assert "ablations" not in tree


def test_a_misspelt_key_is_an_error() -> None:
    with pytest.raises(ValidationError, match="ablation\n"):
        Metrics.model_validate({**COMMON, "ablation": {}})
