"""Stage 5: distil the teacher into a student that reads raw features only.

Reads ``encoded``, ``fused_scores``, and the base models that are parts of the student. The other parts learn the
teacher's margins (log-odds) by MSE on labelled and unlabelled training rows: at a prior of 0.5 % the gradients of an
MSE on probabilities would be tiny. They are fitted fold by fold and averaged, like a base model. The calibration is
chosen and fitted on the *teacher's* out-of-fold margins: the student's own are not honest, because the teacher's scores
of the other folds were learned with this fold's labels.
Writes ``student_scores``: every row's ``student`` margin.
"""

from __future__ import annotations

import itertools

from pyspark.sql import functions as F

from remedi_spark.columns import CARRIED, LABEL, PART, ROW_HASH
from remedi_spark.config import Config
from remedi_spark.ensemble.student_parts import student_members, student_parts
from remedi_spark.labels.kind import task_of
from remedi_spark.models.contract import TARGET
from remedi_spark.models.cross_fit import FoldFits, fit_by_fold, mean_margin
from remedi_spark.models.predict import score_by_fold
from remedi_spark.progress import say, step
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.holdout import TEST, TRAIN
from remedi_spark.scoring.batch import score_canonical
from remedi_spark.scoring.bundle import BundleParts, load_students
from remedi_spark.scoring.monitoring.counting import describe_scores
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.partitions import uniform
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.workspace import FINAL, Workspace

DESCRIBED_ROWS = 20_000
"""About how many training rows are scored once more to know how scores are distributed."""


def run(workspace: Workspace, config: Config) -> None:
    """Train, calibrate and apply the student of every phase."""
    for phase in workspace.models(FINAL).load("phases")["phases"]:
        _distil(workspace, config, phase)
        _calibrate(workspace, config, phase)
    _describe(workspace, config)


def _distil(workspace: Workspace, config: Config, phase: str) -> None:
    settings = config.student
    store = workspace.models(phase)
    encoder = Encoder.from_dict(store.load("encoder"))
    encoded = workspace.read(phase, "encoded")
    teacher = workspace.read(phase, "fused_scores").select(*CARRIED, "fuser")
    task = task_of(config, store)
    rows = join_rows(encoded, teacher).where(F.col(PART) != TEST)
    rows = rows.withColumn(TARGET, task.lesson(settings.label_weight)).cache()
    mixes_labels = task.binary and settings.label_weight > 0
    plan = FoldFits(
        encoder.layout, encoder.folds, TARGET, "mse", 0.0, rows.count(), config.base_models.validation_share,
        config.base_models.workers or 1, config.seed * 1000 + 500,
        label=LABEL if mixes_labels else None, label_weight=settings.label_weight if mixes_labels else 0.0,
        seconds=config.spark.unit_seconds,
    )  # fmt: skip

    def keep(name: str, fold: int, fitted: Fitted) -> None:
        store.save_fitted(fitted, "student", name, f"fold_{fold}")
        told = f"{phase}: {name} fold {fold + 1}/{encoder.folds}"
        step("student", told, done=next(count), total=len(settings.enabled) * encoder.folds)

    count = itertools.count(1)

    try:
        models = fit_by_fold(rows, settings.enabled, plan, keep)
    finally:
        rows.unpersist()
    for name, fitted in student_members(workspace, config, phase).items():
        models[name] = fitted
        for fold, one in enumerate(fitted):
            store.save_fitted(one, "student", name, f"fold_{fold}")
    margins = score_by_fold(encoded.select(*CARRIED, "x", "te"), models, encoder.layout)
    student = margins.withColumn("student", mean_margin(list(models)))
    workspace.write(phase, "student_scores", student.drop(*models))


def _calibrate(workspace: Workspace, config: Config, phase: str) -> None:
    """Fit the way from margin to score on the teacher's out-of-fold margins."""
    teacher = workspace.read(phase, "fused_scores").where(F.col(PART) == TRAIN)
    score_map = task_of(config, workspace.models(phase)).score_map(teacher)
    workspace.models(phase).save("calibration", score_map.to_dict())
    say("student", f"{phase}: calibrated by {type(score_map).__name__}")


def _describe(workspace: Workspace, config: Config) -> None:
    """Keep how the shipped model scores training rows: scored rows are compared with what the same model makes.

    Out-of-fold scores would not do: each is of one fold's model, and the mean of all is less spread.
    """
    store = workspace.models(FINAL)
    students = load_students(store, student_parts(workspace, config), config.base_models.folds)
    parts = BundleParts(store.load("encoder"), students, store.load("calibration"), model_version="")
    share = DESCRIBED_ROWS / max(1, store.load("training")["rows"])
    trained = F.col(LABEL).isNotNull() & (F.col("source") != TEST) & (uniform(ROW_HASH, config.seed) < share)
    scored = score_canonical(workspace.tables.read("samples").where(trained), parts).cache()
    store.save("score_distribution", describe_scores(scored))
    scored.unpersist()
