"""A ring of workers grows the trees of one worker: here workers are threads, below tasks of a barrier stage."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import functions as F
from sklearn.metrics import roc_auc_score

from remedi_spark.config.chain import LightGBMConfig
from remedi_spark.models.contract import FitError
from remedi_spark.models.lightgbm import ring as lightgbm_ring
from remedi_spark.models.lightgbm.fit import LightGBMLearner
from remedi_spark.models.lightgbm.ring import MINE, SHARED, _spread, _training_function
from remedi_spark.models.lightgbm.task import Focal, TaskFit, _train
from remedi_spark.models.predictors import load_predictor
from remedi_spark.models.spark_examples import SparkExamples
from remedi_spark.models.task_rows import task_rows
from remedi_spark.spark import whole_partitions
from remedi_spark.spark.watchdog import TimeLimitError, time_limit
from remedi_spark.spark.whole_partitions import LostMemberError, Member

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from tests.learners.conftest import Planted

ROWS, WIDTH, LEVELS = 6000, 4, 1000
PARAMETERS: dict[str, Any] = {
    "objective": "binary", "metric": "binary_logloss", "learning_rate": 0.2, "max_depth": 2, "lambda_l2": 1.0,
    "num_threads": 1, "verbosity": -1, "deterministic": True, "force_col_wise": True, "seed": 7,
}  # fmt: skip
PLAN = TaskFit(PARAMETERS, 200, 10, refit=False)
SAME = 1e-6
"""Margins of a ring and of one worker: sums are rounded in another order."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that no longer agree wait for each other: a minute is LightGBM's least."""
    monkeypatch.setattr(lightgbm_ring, "TIME_OUT", 1)


class _Meeting:
    """A barrier stage whose tasks are threads."""

    def __init__(self, workers: int) -> None:
        self._barrier, self._said = threading.Barrier(workers, timeout=60), [""] * workers
        self._hosts = [SimpleNamespace(address="127.0.0.1:0")] * workers

    def task(self, rank: int) -> Any:
        def all_gather(message: str) -> list[str]:
            self._said[rank] = message
            self._barrier.wait()
            heard = list(self._said)
            self._barrier.wait()
            return heard

        return SimpleNamespace(partitionId=lambda: rank, getTaskInfos=lambda: self._hosts, allGather=all_gather)


def _table(rows: Planted, **flags: Any) -> pa.Table:
    x = pa.array(rows.x.tolist(), pa.list_(pa.float64()))
    return pa.table({"x": x, "target": rows.target, "weight": rows.weight, "valid": rows.valid, **flags})


def _results(
    rows: Planted, plan: TaskFit, owner: Any, workers: int, shared: Sequence[Any] | None = None
) -> list[dict[str, Any] | None]:
    """Run one ring; every worker has all rows, of which some are its own, and all are shared unless told otherwise."""
    shared = [np.ones(len(rows.x), dtype=bool)] * workers if shared is None else shared
    work, meeting = _training_function(plan, rows.x.shape[1]), _Meeting(workers)

    def run(rank: int) -> dict[str, Any] | None:
        table = _table(rows, **{MINE: owner == rank, SHARED: shared[rank]})
        made = work(meeting.task(rank), table)
        return json.loads(made) if made else None

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, range(workers)))


def _ring(rows: Planted, plan: TaskFit, owner: Any, workers: int) -> lightgbm.Booster:
    made = [one for one in _results(rows, plan, owner, workers) if one is not None]
    assert len({one["digest"] for one in made}) == 1
    assert {one["rows"] for one in made} == {len(rows.x)}
    assert [bool(one["text"]) for one in made] == [True] + [False] * (len(made) - 1)
    return lightgbm.Booster(model_str=made[0]["text"])


def _alone(rows: Planted, plan: TaskFit) -> lightgbm.Booster:
    return lightgbm.Booster(model_str=_train(plan, *task_rows(_table(rows), rows.x.shape[1])))


def _assert_same(ring: lightgbm.Booster, alone: lightgbm.Booster, x: Any, atol: float = SAME) -> None:
    assert alone.num_trees() > 5
    assert ring.num_trees() == alone.num_trees()
    np.testing.assert_allclose(ring.predict(x, raw_score=True), alone.predict(x, raw_score=True), atol=atol)


def _coarse(rows: Planted) -> Planted:
    """Round to five values: no split of two levels is near ``min_data_in_leaf``, where a ring decides otherwise."""
    return replace(rows, x=np.column_stack([(rows.x[:, :3] / 0.75).round().clip(-2, 2), rows.x[:, 3]]))


@pytest.fixture(scope="module")
def rows(plant: Callable[..., Planted]) -> Planted:
    return replace(_coarse(plant(ROWS, seed=1)), weight=np.random.default_rng(2).choice([0.5, 1.0, 2.0], ROWS))


def _amounts(rows: Planted) -> Planted:
    """Amounts of 0 or more with many zeros."""
    return replace(rows, target=np.where(rows.target > 0, np.exp(rows.truth / 2), 0.0))


def _plan(**changes: Any) -> TaskFit:
    return replace(PLAN, parameters={**PARAMETERS, **changes})


def _shares(*shares: float) -> Any:
    """Deal the rows to workers that get so many of them."""
    return np.random.default_rng(4).choice(len(shares), ROWS, p=shares)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("owner", [_shares(0.5, 0.5), _shares(0.1, 0.3, 0.6)], ids=["two", "three"])
def test_the_trees_are_those_of_one_worker(rows: Planted, owner: Any, refit: bool) -> None:
    plan = replace(PLAN, refit=refit)
    alone = _alone(rows, plan)
    assert alone.num_trees() < PLAN.rounds - PLAN.patience, "it has to stop early"
    _assert_same(_ring(rows, plan, owner, owner.max() + 1), alone, rows.x)


@pytest.mark.parametrize("objective", ["regression", "huber", "tweedie", "gamma"])
def test_so_are_those_for_amounts(rows: Planted, objective: str) -> None:
    metric = "l2" if objective == "regression" else objective
    amounts = _amounts(rows)
    if objective == "gamma":
        amounts = replace(amounts, target=amounts.target + 0.1)
    plan = _plan(objective=objective, metric=metric, alpha=1.0, tweedie_variance_power=1.5, max_depth=1)
    _assert_same(_ring(amounts, plan, _shares(0.3, 0.7), 2), _alone(amounts, plan), rows.x)


def test_absolute_errors_are_as_small_as_those_of_one_worker(rows: Planted) -> None:
    amounts = replace(rows, target=rows.truth + np.random.default_rng(3).normal(size=ROWS))
    plan = _plan(objective="regression_l1", metric="l1")
    ring, alone = _ring(amounts, plan, _shares(0.3, 0.7), 2), _alone(amounts, plan)
    errors = [np.abs(one.predict(rows.x) - rows.truth).mean() for one in (ring, alone)]
    assert errors[0] < 1.1 * errors[1]


@pytest.mark.parametrize("refit", [False, True])
def test_so_are_those_of_the_focal_loss(rows: Planted, refit: bool) -> None:
    plan = replace(_plan(metric="average_precision", max_depth=1), focal=Focal(0.25, 2.0, -1.0), refit=refit)
    _assert_same(_ring(rows, plan, _shares(0.2, 0.3, 0.5), 3), _alone(rows, plan), rows.x)


@pytest.mark.parametrize("as_category", [False, True])
def test_a_column_may_have_a_thousand_levels(rows: Planted, as_category: bool) -> None:
    level = np.random.default_rng(5).integers(0, LEVELS, ROWS)
    amounts = rows.truth + np.random.default_rng(6).normal(0, 2, LEVELS)[level]
    many = replace(rows, x=np.column_stack([rows.x[:, :3], level]), target=amounts, weight=np.ones(ROWS))
    category = {"categorical_column": "3", "min_data_per_group": 1}
    plan = _plan(objective="regression", metric="l2", max_bin=LEVELS + 1, **(category if as_category else {}))
    alone = _alone(many, plan)
    assert alone.feature_importance("gain")[3] > 0
    _assert_same(_ring(many, plan, _shares(0.5, 0.5), 2), alone, many.x)


def test_squared_errors_of_one_weight_are_split_alike_down_to_the_smallest_leaf(plant: Callable[..., Planted]) -> None:
    rows = plant(ROWS, seed=1)
    plan = _plan(objective="regression", metric="l2", max_depth=-1, num_leaves=63, min_data_in_leaf=5)
    _assert_same(_ring(rows, plan, _shares(0.3, 0.7), 2), _alone(rows, plan), rows.x)


@pytest.mark.parametrize("focal", [None, Focal(0.25, 2.0, -1.0)])
def test_near_the_smallest_leaf_it_is_another_model_as_good(plant: Callable[..., Planted], focal: Focal | None) -> None:
    """LightGBM's ring counts the rows of a leaf by their hessians."""
    rows, fresh = plant(ROWS, seed=1), plant(20_000, seed=2)
    metric = "binary_logloss" if focal is None else "average_precision"
    plan = replace(
        _plan(max_depth=-1, num_leaves=31, min_data_in_leaf=20, learning_rate=0.1, metric=metric), focal=focal
    )
    ring, alone = (
        one.predict(fresh.x, raw_score=True) for one in (_ring(rows, plan, _shares(0.3, 0.7), 2), _alone(rows, plan))
    )
    assert roc_auc_score(fresh.target, ring) == pytest.approx(roc_auc_score(fresh.target, alone), abs=0.005)
    assert np.abs(ring - alone).max() > SAME


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("kind", ["first", "middle", "all but one", "only validation rows"])
def test_a_worker_without_rows_changes_nothing(rows: Planted, kind: str, refit: bool) -> None:
    two = _shares(0.5, 0.5)
    owner = {
        "first": two + 1, "middle": 2 * two, "all but one": np.full(ROWS, 2),
        "only validation rows": np.where(rows.valid, 0, two + 1),
    }[kind]  # fmt: skip
    plan = replace(PLAN, refit=refit)
    _assert_same(_ring(rows, plan, owner, 3), _alone(rows, plan), rows.x)


@pytest.mark.parametrize("focal", [None, Focal(0.25, 2.0, -1.0)])
def test_so_does_a_worker_of_negatives_alone(rows: Planted, focal: Focal | None) -> None:
    owner = np.where((rows.target == 0) & (_shares(0.5, 0.5) == 0), 0, 1)
    plan = replace(_plan(max_depth=1, metric="binary_logloss" if focal is None else "average_precision"), focal=focal)
    _assert_same(_ring(rows, plan, owner, 2), _alone(rows, plan), rows.x)


def test_workers_with_different_samples_are_refused(rows: Planted) -> None:
    everything = np.ones(ROWS, dtype=bool)
    with pytest.raises(FitError, match="different samples"):
        _results(rows, PLAN, _shares(0.5, 0.5), 2, [everything, np.arange(ROWS) > 0])


def test_random_columns_and_thresholds_are_drawn_alike_and_again(rows: Planted) -> None:
    plan = _plan(feature_fraction=0.6, bagging_fraction=0.7, bagging_freq=1, extra_trees=True)
    one, other = (_results(rows, plan, _shares(0.4, 0.6), 2) for _ in range(2))
    assert one == other
    assert one[0] is not None
    assert one[1] is not None
    assert one[0]["digest"] == one[1]["digest"]


def test_the_next_fit_of_a_process_is_alone_again(rows: Planted) -> None:
    """LightGBM's network is the thread's: who leaves it open, makes the next fit wait for a ring that is gone."""
    work, meeting = _training_function(PLAN, WIDTH), _Meeting(2)
    owner, everyone = _shares(0.5, 0.5), np.ones(ROWS, dtype=bool)

    def run(rank: int) -> int:
        work(meeting.task(rank), _table(rows, **{MINE: owner == rank, SHARED: everyone}))
        return _alone(rows, PLAN).num_trees() if rank == 0 else 0

    with ThreadPoolExecutor(2) as pool:
        assert next(iter(pool.map(run, range(2)))) == _alone(rows, PLAN).num_trees()


def test_a_port_that_was_taken_meanwhile_counts_as_a_lost_member(
    rows: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"given": 1.0, "rows": 1.0, "weight": 1.0, "total": 0.5, "rounds": 3.0, "sample": 0.0}
    with whole_partitions.reserved_port() as taken:
        everyone = [Member(f"127.0.0.1:{taken}", said), Member("127.0.0.1:1", said)]
        monkeypatch.setattr(lightgbm_ring, "members", lambda *_: everyone)
        flags = dict.fromkeys((MINE, SHARED), np.ones(ROWS, dtype=bool))
        with pytest.raises(LostMemberError, match="ring of 2 workers is broken: Binding port"):
            _training_function(PLAN, WIDTH)(_Meeting(1).task(0), _table(rows, **flags))
    assert whole_partitions.lost_executor(RuntimeError("…\nremedi_spark.spark.…LostMemberError: LightGBM's ring"))


CONFIG = LightGBMConfig(
    engine="native", num_iterations=200, learning_rate=0.2, max_depth=1, early_stopping=10, lambda_l2=1.0
)


@pytest.fixture(scope="module")
def unweighted(plant: Callable[..., Planted]) -> Planted:
    return _coarse(plant(ROWS, seed=1))


@pytest.mark.parametrize("changes", [{}, {"refit_below": 0}, {"objective": "focal"}], ids=str)
def test_two_tasks_grow_the_trees_of_one(unweighted: Planted, spark: SparkSession, changes: dict[str, Any]) -> None:
    data, frame = unweighted.here(rows=ROWS), unweighted.frame(spark)
    learner = LightGBMLearner(CONFIG.model_copy(update=changes))
    alone = learner.fit(data)
    together, again = (
        learner.fit(replace(data, examples=SparkExamples(frame.repartition(partitions)), workers=2))
        for partitions in (3, 7)
    )
    assert together.payload == again.payload
    assert together.info == again.info == alone.info
    margins = [load_predictor(one)(unweighted.x) for one in (together, alone)]
    np.testing.assert_allclose(*margins, atol=SAME)


def test_a_task_may_have_no_rows(unweighted: Planted, spark: SparkSession) -> None:
    data = unweighted.training_set(spark, rows=ROWS, workers=2)
    even = SparkExamples(unweighted.frame(spark).withColumn("row_hash", F.col("row_hash") * 2))
    lopsided = replace(data, examples=even)
    margins = [load_predictor(LightGBMLearner(CONFIG).fit(replace(lopsided, workers=n)))(unweighted.x) for n in (1, 2)]
    np.testing.assert_allclose(*margins, atol=SAME)


@pytest.mark.slow
def test_a_ring_that_takes_too_long_ends_and_leaves_its_slots(unweighted: Planted, spark: SparkSession) -> None:
    data = unweighted.training_set(spark, rows=ROWS, workers=2)
    endless = CONFIG.model_copy(update={"num_iterations": 10**7, "early_stopping": 10**7})
    with pytest.raises(TimeLimitError, match=r"not done within 8 s"), time_limit(spark, 8, "a fit"):
        LightGBMLearner(endless).fit(data)
    started = time.monotonic()
    assert LightGBMLearner(CONFIG).fit(data).info["trees"] > 5
    assert time.monotonic() - started < 60, "it waited for no worker of the first"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sequence[float]]:
    """Let bins be found from a fifth of 1,500 rows, and a half of the validation rows be watched."""
    monkeypatch.setattr(lightgbm_ring, "BIN_ROWS", 300)
    monkeypatch.setattr(lightgbm_ring, "WATCHED_NUMBERS", 3000)
    return (0.2, 0.5)


def test_of_many_rows_all_workers_get_a_sample(
    plant: Callable[..., Planted], spark: SparkSession, few: Sequence[float]
) -> None:
    data = plant(1500, seed=1).training_set(spark, rows=1500, workers=2)
    parts = _spread(data, few[0]).withColumn("at", F.spark_partition_id()).toPandas()
    assert sorted(parts.loc[parts["mine"], "at"].value_counts()) == [750, 750]
    assert parts["mine"].sum() == 1500, "each row is one worker's"
    assert parts.loc[~parts["mine"], "shared"].all(), "copies are of what all need"
    for valid, share in zip((False, True), few, strict=True):
        at = parts[parts["shared"] & (parts["valid"] == valid)].groupby("at")
        sizes = at.size().to_list()
        expected = 1500 * (0.2 if valid else 0.8)
        assert sizes[0] == sizes[1] == pytest.approx(share * expected, abs=5 * (expected / 4) ** 0.5)
        keys = [sorted(map(tuple, group["x"])) for _, group in at]
        np.testing.assert_array_equal(*keys)


@pytest.mark.usefixtures("few")
def test_a_sample_is_enough(plant: Callable[..., Planted], spark: SparkSession) -> None:
    rows, fresh = plant(1500, seed=1), plant(4000, seed=2)
    data = rows.training_set(spark, rows=1500)
    alone, ring = (load_predictor(LightGBMLearner(CONFIG).fit(replace(data, workers=n)))(fresh.x) for n in (1, 2))
    errors = [np.abs(margins - fresh.truth).mean() for margins in (alone, ring)]
    assert errors[1] == pytest.approx(errors[0], rel=0.1)
    assert np.abs(alone - ring).max() > SAME, "the bins are others"
