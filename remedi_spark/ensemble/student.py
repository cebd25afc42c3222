"""Stage 5: distil the teacher into a student that reads raw features only.

Reads ``encoded``, ``fused_scores``, and the base models that are parts of the student. The other parts learn the
teacher's margins (log-odds) by MSE on labelled and unlabelled training rows: at a prior of 0.5 % the gradients of an
MSE on probabilities would be tiny. They are fitted fold by fold and averaged, like a base model. The calibration is
chosen and fitted on the *teacher's* out-of-fold margins: the student's own are not honest, because the teacher's scores
of the other folds were learned with this fold's labels.
Writes ``student_scores``: the columns of ``fused_scores``, and every row's ``student`` margin.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import LABEL, PART, ROW_HASH
from remedi_spark.config import Config
from remedi_spark.ensemble.stored_fits import StoredFits
from remedi_spark.ensemble.student_parts import student_members, student_parts
from remedi_spark.labels.kind import task_of
from remedi_spark.models.contract import TARGET, FitError
from remedi_spark.models.cross_fit import FoldFits, mean_margin
from remedi_spark.models.predict import score_by_fold
from remedi_spark.progress import log
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.folds import BLOCK
from remedi_spark.samples.holdout import TEST, TRAIN
from remedi_spark.scoring.batch import score_canonical
from remedi_spark.scoring.bundle import BundleParts, load_students
from remedi_spark.scoring.monitoring.counting import describe_scores
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.kept import kept
from remedi_spark.spark.partitions import uniform
from remedi_spark.spark.side_by_side import side_by_side, together
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyspark.sql import DataFrame

    from remedi_spark.labels.kind import Task
    from remedi_spark.samples.layout import Layout

DESCRIBED_ROWS = 20_000
"""About how many training rows are scored once more to know how scores are distributed."""


def run(workspace: Workspace, config: Config) -> None:
    """Train, calibrate and apply the student of every phase."""
    one_at_a_time = threading.Lock()
    phases = list(workspace.models(FINAL).load("phases")["phases"])
    side_by_side(lambda phase: _distil(workspace, config, phase, one_at_a_time), phases)


def _distil(workspace: Workspace, config: Config, phase: str, fitting: threading.Lock) -> None:
    task = task_of(config, workspace.models(phase))
    rows = join_rows(workspace.read(phase, "encoded"), workspace.read(phase, "fused_scores"))
    with kept(rows.withColumn(TARGET, task.student_target(config.student.label_weight))) as taught:
        _calibrate(workspace, task, phase, taught)
        # The fits of one phase fill the slots; those of another would spend their time limit waiting.
        with fitting:
            models = _fit(workspace, config, phase, taught.where(F.col(PART) != TEST))
        parts: dict[str, Callable[[], None]] = {"scores": lambda: _score(workspace, phase, taught, models)}
        if phase == FINAL:
            parts["distribution"] = lambda: _describe(workspace, config)
        together(parts)


def _calibrate(workspace: Workspace, task: Task, phase: str, rows: DataFrame) -> None:
    """Fit the way from margin to score on the teacher's out-of-fold margins."""
    score_map = task.score_map(rows.where(F.col(PART) == TRAIN))
    workspace.models(phase).save("calibration", score_map.to_dict())
    log("student", f"{phase}: calibrated by {type(score_map).__name__}")


def _fit(workspace: Workspace, config: Config, phase: str, rows: DataFrame) -> dict[str, Sequence[Fitted]]:
    """Fit and store the student's own models; return all of its parts by name, one a fold."""
    settings, store, folds = config.student, workspace.models(phase), config.base_models.folds
    mixes_labels = task_of(config, store).binary and settings.label_weight > 0
    plan = FoldFits(
        _layout(workspace, phase), folds, TARGET, "mse", 0.0, rows.count(), config.base_models.validation_share,
        config.base_models.workers or 1, config.seed * 1000 + 500,
        label=LABEL if mixes_labels else None, label_weight=settings.label_weight if mixes_labels else 0.0,
        seconds=config.spark.unit_seconds,
    )  # fmt: skip
    fits = StoredFits(workspace, phase, "student", ("encoded", "fused_scores"))
    if failed := fits.fit(rows, settings.enabled, plan):
        raise FitError(f"parts of the student could not be fitted, the others are kept: {failed}")
    models: dict[str, Sequence[Fitted]] = {**fits.load(list(settings.enabled), folds)}
    for name, fitted in student_members(workspace, config, phase).items():
        models[name] = fitted
        for fold, one in enumerate(fitted):
            store.save_fitted(one, "student", name, f"fold_{fold}")
    return models


def _score(workspace: Workspace, phase: str, rows: DataFrame, models: dict[str, Sequence[Fitted]]) -> None:
    """Write the student's margins beside what each row has been given so far."""
    # A part of the student may have the name of a base model, whose score is in the row.
    parts = {f"student_{name}": fitted for name, fitted in models.items()}
    margins = score_by_fold(rows.drop(BLOCK, TARGET), parts, _layout(workspace, phase))
    student = margins.withColumn("student", mean_margin(list(parts)))
    workspace.write(phase, "student_scores", student.drop(*parts))


def _layout(workspace: Workspace, phase: str) -> Layout:
    return Encoder.from_dict(workspace.models(phase).load("encoder")).layout


def _describe(workspace: Workspace, config: Config) -> None:
    """Keep how the shipped model scores training rows: scored rows are compared with what the same model makes.

    Out-of-fold scores would not do: each is of one fold's model, and the mean of all is less spread. Nor would the
    encoded rows: a training row's target encoding leaves its own fold out, that of a row to score does not.
    """
    store = workspace.models(FINAL)
    students = load_students(store, student_parts(workspace, config), config.base_models.folds)
    parts = BundleParts(store.load("encoder"), students, store.load("calibration"), model_version="")
    share = DESCRIBED_ROWS / max(1, store.load("training")["rows"])
    trained = F.col(LABEL).isNotNull() & (F.col("source") != TEST) & (uniform(ROW_HASH, config.seed) < share)
    with kept(score_canonical(workspace.tables.read("samples").where(trained), parts)) as scored:
        store.save("score_distribution", describe_scores(scored))
