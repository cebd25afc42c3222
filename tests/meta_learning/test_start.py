"""The distilled start: no row is taught its own owner's label, trees bring what a net misses, workers do not matter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import distributed, multiprocessing

from remedi_spark.config.adapt import AdaptConfig, TeacherConfig
from remedi_spark.maths.ranking import average_precision
from remedi_spark.models.nets.training import Recipe, margin
from remedi_spark.samples.layout import Layout, Slot
from remedi_spark.segments.catalog import Catalog
from remedi_spark.segments.maths.segments import SegmentRows
from remedi_spark.segments.start import fit_start, pooled_rows
from remedi_spark.segments.teacher import teach

LAYOUT = Layout(tuple(Slot(i, "number") for i in range(6)))
CATALOG = Catalog(("a", "b", "c"), ("v",), (), {})
SPEC: dict[str, Any] = {"kind": "mlp", "embedding_dim": 2, "dropout": 0.0, "hidden": [8]}
RECIPE = Recipe(
    loss="logistic", epochs=2, max_steps=1000, batch_size=256, learning_rate=2e-3, weight_decay=0.0, patience=2,
    n_bins=4, seed=0,
)  # fmt: skip
SMALL = TeacherConfig(trees=1, nets=1, rounds=20, rows_in_leaf=20, columns=1.0)
TREES = TeacherConfig(trees=2, nets=0, rounds=60, rows_in_leaf=20, columns=1.0)


def interaction(x: Any) -> Any:
    """Return the true logit: the product of two signs, which no single column shows."""
    return -2.0 + 2.0 * np.sign(x[:, 0] * x[:, 1])


def segments(rows: int = 2000, owners: int = 500) -> dict[str, SegmentRows]:
    """The same owners in every segment; labels follow :func:`interaction`."""
    found = {}
    for number, name in enumerate(("a", "b", "c", "v")):
        rng = np.random.default_rng(number)
        x = rng.normal(size=(rows, 6))
        y = (rng.random(rows) < 1 / (1 + np.exp(-interaction(x)))).astype(np.float64)
        owner = np.arange(rows) % owners
        key = np.random.default_rng(9).integers(-(2**62), 2**62, owners)[owner]
        found[name] = SegmentRows(name, x, y, owner, np.zeros(rows, dtype=np.int64), np.ones(rows), key)
    return found


def taught(some: dict[str, SegmentRows], config: TeacherConfig = SMALL) -> Any:
    rows = pooled_rows(some, CATALOG, LAYOUT)
    return rows, teach(rows, config, SPEC, LAYOUT, RECIPE).margins


def test_no_row_is_taught_the_labels_of_its_owner() -> None:
    """With every label of one fold's owners turned round, the margins of their own rows stay what they were."""
    world = segments()
    rows, before = taught(world)
    fold = rows.key % SMALL.folds
    assert len(np.unique(fold)) == SMALL.folds
    turned = {
        name: replace(one, y=np.where((one.key % SMALL.folds == 0) & (name != "v"), 1 - one.y, one.y))  # type: ignore[operator]
        for name, one in world.items()
    }
    _, after = taught(turned)
    own = (fold == 0) & ~rows.valid
    np.testing.assert_array_equal(before[own], after[own])
    assert np.abs(before - after)[(fold == 1) & ~rows.valid].max() > 0.01


@pytest.mark.slow
def test_trees_teach_an_interaction_that_the_net_alone_does_not_learn() -> None:
    world = segments(4000, owners=4000)
    fresh = np.random.default_rng(77).normal(size=(4000, 6))
    truth = interaction(fresh)
    settings = {
        "net": {"hidden": [16], "embedding_dim": 4, "n_bins": 4},
        "pooled": {"epochs": 8, "batch_size": 256, "learning_rate": 0.003},
        "teacher": {"trees": 2, "nets": 0, "rounds": 60, "rows_in_leaf": 20, "columns": 1.0},
    }
    found = {}
    for start in ("pooled", "distilled"):
        config = AdaptConfig.model_validate({**settings, "start": start})
        begun = fit_start(world, config, SPEC, LAYOUT, CATALOG, 0)
        found[start] = float(np.corrcoef(margin(begun.net, fresh), truth)[0, 1])
    assert found["distilled"] > found["pooled"]


def test_out_of_fold_trees_rank_as_the_planted_truth_does() -> None:
    world = segments(4000, owners=4000)
    rows, margins = taught(world, TREES)
    for part in (rows.valid, ~rows.valid):
        best = average_precision(rows.y[part], interaction(rows.x[part]), rows.weight[part])
        assert average_precision(rows.y[part], margins[part], rows.weight[part]) > 0.8 * best


def test_the_order_of_the_segments_does_not_matter() -> None:
    world = segments()
    _, before = taught(world)
    _, after = taught(dict(reversed(world.items())))
    np.testing.assert_array_equal(before, after)


def test_at_most_the_rows_asked_for_reach_the_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole owners are left out, the same wherever their rows are."""
    import lightgbm

    seen = []
    plain = lightgbm.Dataset

    def watched(x: Any, *more: Any, **named: Any) -> Any:
        seen.append(len(x))
        return plain(x, *more, **named)

    monkeypatch.setattr(lightgbm, "Dataset", watched)
    taught(segments(), TREES.model_copy(update={"max_rows": 3000}))
    assert len(seen) == TREES.trees * TREES.folds
    assert sum(seen) / len(seen) == pytest.approx(3000 * 2 / 3, rel=0.2)


def _worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    world = segments()
    mine = {name: one for name, one in world.items() if (name in ("a", "v")) == (rank == 0)}
    _, margins = taught(mine, TREES)
    np.save(f"{folder}/{rank}.npy", margins)
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_workers_grow_the_trees_of_one(tmp_path: Path) -> None:
    multiprocessing.spawn(_worker, args=(str(tmp_path),), nprocs=2)  # type: ignore[no-untyped-call]
    rows, alone = taught(segments(), TREES)
    number = {name: i for i, name in enumerate(("a", "b", "c", "v"))}
    for rank, names in enumerate((("a", "v"), ("b", "c"))):
        expected = np.concatenate([alone[rows.segment == number[name]] for name in names])
        np.testing.assert_allclose(np.load(tmp_path / f"{rank}.npy"), expected, atol=1e-12)


def test_a_teacher_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"trees and nets are both 0.*adapt\.start=pooled"):
        TeacherConfig(trees=0, nets=0)
    with pytest.raises(ValidationError, match="distilled"):
        AdaptConfig.model_validate({"start": "boosted"})
