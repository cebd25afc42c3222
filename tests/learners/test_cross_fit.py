"""The one loop of fits: side by side, a failure loses no other, what is done is not done again."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.errors import InputError
from remedi_spark.models import cross_fit as loop
from remedi_spark.models.contract import FitError
from remedi_spark.models.cross_fit import LATE, FoldFits, cross_fit
from remedi_spark.storage.fitted import Fitted

PLAN = FoldFits(cast(Any, None), 3, "target", "mse", 0.0, 10, 0.15, 1, 0)
MODELS = {"a": LightGBMConfig(), "b": LightGBMConfig(num_leaves=7)}
ROWS = cast(Any, SimpleNamespace(sparkSession=None))


@pytest.fixture(autouse=True)
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Stand in for single fits: (leaves, fold) of each, in order; those of seven leaves fail on fold 1."""
    seen: list[tuple[int, int]] = []

    def fit(_: Any, model: LightGBMConfig, plan: FoldFits, fold: int) -> Fitted:
        seen.append((model.num_leaves, fold))
        if model.num_leaves == 7 and fold == 1:
            raise ValueError("out of memory")
        return Fitted("lightgbm", bytes([fold]), {"trees": fold})

    monkeypatch.setattr(loop, "fit_fold", fit)
    monkeypatch.setattr(loop, "slots", lambda _: 2)
    return seen


def test_a_failed_fit_loses_no_other() -> None:
    kept: list[tuple[str, int]] = []
    found = cross_fit(ROWS, MODELS, PLAN, lambda name, fold, *_: kept.append((name, fold)))
    assert sorted(kept) == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 2)]
    assert sorted(found.fitted) == sorted(kept)
    assert list(found.failed) == ["b"]
    assert "fold 1" in found.failed["b"]
    assert "out of memory" in found.failed["b"]
    with pytest.raises(FitError, match="out of memory"):
        found.whole()


def test_only_what_is_to_do_is_done(fits: list[tuple[int, int]]) -> None:
    todo = [("b", 2), ("a", 0)]
    found = cross_fit(ROWS, MODELS, PLAN, lambda *_: None, todo=todo, parallel=1)
    assert fits == [(7, 2), (MODELS["a"].num_leaves, 0)]
    assert list(found.whole().fitted) == todo
    assert cross_fit(ROWS, MODELS, PLAN, lambda *_: None, todo=[]).fitted == {}


def test_models_come_back_in_the_order_of_folds() -> None:
    found = cross_fit(ROWS, {"a": MODELS["a"]}, PLAN, lambda *_: None)
    assert [one.payload for one in found.by_name(3)["a"]] == [b"\0", b"\1", b"\2"]


def test_wrong_input_ends_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(*_: Any) -> Fitted:
        raise InputError("a feature of text")

    monkeypatch.setattr(loop, "fit_fold", fit)
    with pytest.raises(InputError, match="a feature of text"):
        cross_fit(ROWS, MODELS, PLAN, lambda *_: None)


def test_a_deadline_spares_the_first_two_models_and_leaves_out_the_rest(
    fits: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    models = {name: LightGBMConfig(num_leaves=2 + i) for i, name in enumerate("abcd")}
    late = replace(PLAN, deadline=time.monotonic() - 1)
    found = cross_fit(ROWS, models, late, lambda *_: None)
    assert sorted({name for name, _ in found.fitted}) == ["a", "b"]
    assert found.failed == {"c": LATE, "d": LATE}
    assert {leaves for leaves, _ in fits} == {2, 3}
    early = replace(PLAN, deadline=time.monotonic() + 60, seconds=500.0)
    seconds: list[float | None] = []

    def fit(_: Any, model: LightGBMConfig, plan: FoldFits, fold: int) -> Fitted:
        seconds.append(plan.seconds)
        return Fitted("lightgbm", b"", {"trees": 1})

    monkeypatch.setattr(loop, "fit_fold", fit)
    assert not cross_fit(ROWS, models, early, lambda *_: None, parallel=1).failed
    assert seconds[:6] == [500.0] * 6, "those of the first two have their own limit alone"
    assert all(one is not None and 0 < one <= 60 for one in seconds[6:])
