"""Rows made up from training rows: what they are made of, and what the teacher says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pyspark.sql import functions as F

from remedi_spark.config.spark import SparkConfig
from remedi_spark.ensemble.student import _lessons, _teacher
from remedi_spark.ensemble.synthetic import SWAPPED, taught_rows
from remedi_spark.opening import reopen
from remedi_spark.samples.encoder import Encoder
from tests.cli.conftest import Trained

WANTED = 900
PHASE = "holdout"


@pytest.fixture(scope="module")
def school(trained: Trained) -> Any:
    """Workspace, layout and teacher of the measured phase of a training."""
    workspace, config, _ = reopen(trained.bundle)
    layout = Encoder.from_dict(workspace.models(PHASE).load("encoder")).layout
    return workspace, layout, _teacher(workspace, config, PHASE)


def test_the_teacher_says_of_a_test_row_what_the_fuser_stage_said(school: Any) -> None:
    workspace, layout, teacher = school
    fused = workspace.read(PHASE, "fused_scores").where("part = 'test'").select("row_hash", "fuser")
    rows = workspace.read(PHASE, "encoded").join(fused, "row_hash").limit(200).collect()
    x, targets = (np.array([row[name] for row in rows]) for name in ("x", "te"))
    assert x.shape[1] == layout.fixed
    np.testing.assert_allclose(teacher.margins()(x, targets), [row["fuser"] for row in rows], atol=1e-5)


def test_lessons_are_no_more_than_a_task_of_the_student_holds(trained: Trained, school: Any) -> None:
    workspace, layout, _ = school
    _, config, _ = reopen(trained.bundle)
    small = config.model_copy(update={"spark": SparkConfig(task_memory="1m")})
    rows = workspace.read(PHASE, "encoded").join(
        workspace.read(PHASE, "fused_scores").select("row_hash", "fuser"), "row_hash"
    )
    most = small.spark.task_numbers // layout.width
    rows = rows.where("part = 'train'")
    assert _lessons(workspace, config, PHASE, rows).count() > 1.2 * most
    found = _lessons(workspace, small, PHASE, rows).count()
    assert found == pytest.approx(most, rel=0.1)


def test_made_up_rows_are_mixed_from_two_and_are_the_same_in_any_partitioning(school: Any) -> None:
    workspace, layout, teacher = school
    rows = workspace.read(PHASE, "encoded").where("part = 'train'")
    known = rows.count()

    def made(frame: Any) -> Any:
        found = taught_rows(frame, layout, teacher, WANTED, known, seed=3)
        return found.orderBy("row_hash").toPandas()

    one, seven = made(rows.repartition(1)), made(rows.repartition(7, F.rand(1)))
    assert 0.8 * WANTED < len(one) < 1.2 * WANTED
    assert one["row_hash"].is_unique
    assert (one["fold"] == -1).all()
    for name in ("x", "te"):
        np.testing.assert_array_equal(np.stack(one[name].map(np.vstack)), np.stack(seven[name].map(np.vstack)))
    np.testing.assert_allclose(one["fuser"], seven["fuser"], atol=1e-6)
    known_rows = np.stack(rows.toPandas()["x"].to_numpy())
    mixed = np.stack(one["x"].to_numpy())
    for column in range(layout.fixed):
        assert np.isin(mixed[:, column], known_rows[:, column]).all() or np.isnan(known_rows[:, column]).any()
    originals = {row.tobytes() for row in known_rows}
    untouched = np.mean([row.tobytes() in originals for row in mixed])
    features = len({slot.feature for slot in layout.slots})
    assert untouched == pytest.approx((1 - SWAPPED) ** features, abs=0.25), "a swap may change nothing"
