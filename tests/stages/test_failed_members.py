"""A member whose fit failed leaves the ensemble by name, or ends the run."""

from __future__ import annotations

import pytest

from remedi_spark.config import load_config
from remedi_spark.ensemble.base_models import _said_of_members, _survivors
from remedi_spark.models.contract import FitError
from remedi_spark.models.cross_fit import LATE

FAILED = {"trees": "fold 1: ValueError: no"}


def test_a_member_is_dropped_or_the_run_ends() -> None:
    assert _survivors(["trees", "a", "b"], FAILED, "drop") == ["a", "b"]
    with pytest.raises(FitError, match=r"on_failure is stop, and these failed: .*fold 1: ValueError: no"):
        _survivors(["trees", "a", "b"], FAILED, "stop")
    with pytest.raises(FitError, match="only 1 base models left"):
        _survivors(["trees", "a"], FAILED, "drop")


def test_a_member_of_no_trees_is_named() -> None:
    fits = {"lightgbm": {"trees": [1, 50]}, "deepfm": {"epochs": [1, 1]}}
    (learned,) = _said_of_members(load_config(), {"phases": {"final": {"fits": fits}}})
    assert learned.startswith("lightgbm learned next to nothing")


def test_what_the_time_was_too_short_for_is_dropped_even_where_a_failure_ends_the_run() -> None:
    assert _survivors(["a", "b", "slow"], {"slow": LATE}, "stop") == ["a", "b"]
    with pytest.raises(FitError, match="on_failure is stop"):
        _survivors(["a", "b", "slow", "trees"], {"slow": LATE, **FAILED}, "stop")
