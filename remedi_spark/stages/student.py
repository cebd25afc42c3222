"""Stage 5: distil the teacher into a student that reads raw features only.

Reads ``encoded`` and ``fused_scores``. The student learns the teacher's margins (log-odds) by MSE on labelled and
unlabelled training rows: at a prior of 0.5 % the gradients of an MSE on probabilities would be tiny. It is fitted fold
by fold and averaged, like a base model. Its calibration is chosen and fitted on the *teacher's* out-of-fold margins:
the student's own are not honest, because the teacher's scores of the other folds were learned with this fold's labels.
Writes ``student_scores``: every row's ``student`` margin.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import CARRIED, FOLD, LABEL, PART, ROW_HASH, WEIGHT
from remedi_spark.config import Config
from remedi_spark.encoding.encoder import Encoder
from remedi_spark.learners import learner_for
from remedi_spark.learners.alignment import binned_margins, binned_rows
from remedi_spark.learners.contract import Fitted, TrainingSet
from remedi_spark.learners.net import LABELS
from remedi_spark.learners.scoring import score_by_fold
from remedi_spark.metrics.calibrator_choice import best_calibrator
from remedi_spark.progress import say
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.partitions import slots
from remedi_spark.splits.folds import inner_validation
from remedi_spark.splits.holdout import TEST, TRAIN
from remedi_spark.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def run(workspace: Workspace, config: Config) -> None:
    """Train, calibrate and apply the student of every phase."""
    for phase in workspace.models(FINAL).load("phases")["phases"]:
        encoder = Encoder.from_dict(workspace.models(phase).load("encoder"))
        encoded = workspace.read(phase, "encoded")
        teacher = workspace.read(phase, "fused_scores")
        rows = join_rows(encoded, teacher.select(*CARRIED, "fuser")).cache()
        try:
            models = _fit(workspace, config, phase, rows, encoder)
        finally:
            rows.unpersist()
        margins = score_by_fold(encoded.select(*CARRIED, "x", "te"), models, encoder.layout)
        names = list(models)
        student = sum((F.col(name) for name in names), F.lit(0.0)) / len(names)
        workspace.write(phase, "student_scores", margins.withColumn("student", student).drop(*names))
        _calibrate(workspace, config, phase)


def _fit(
    workspace: Workspace, config: Config, phase: str, rows: DataFrame, encoder: Encoder
) -> dict[str, Sequence[Fitted]]:
    settings = config.student
    workers = config.base_models.workers or 1
    chosen = settings.enabled
    units = [(name, fold) for name in chosen for fold in range(encoder.folds)]
    learn = rows.where(F.col(PART) != TEST)
    size = learn.count()

    def fit(unit: tuple[str, int]) -> Fitted:
        name, fold = unit
        columns: list[Any] = [
            F.concat("x", F.col("te")[fold]).alias("x"),
            F.col("fuser").alias("target"),
            F.col(WEIGHT).alias("weight"),
            inner_validation(fold, config.base_models.validation_share).alias("valid"),
            ROW_HASH,
            *([F.col(LABEL).alias(LABELS)] if settings.label_weight else []),
        ]
        frame = learn.where(F.col(FOLD) != fold).select(*columns)
        data = TrainingSet(frame, encoder.layout, "mse", 0.0, size, workers, config.seed * 1000 + 500 + fold)
        fitted = learner_for(chosen[name], label_weight=settings.label_weight).fit(data)
        workspace.models(phase).save_fitted(fitted, "student", name, f"fold_{fold}")
        say("student", f"{phase}: {name} fold {fold + 1}/{encoder.folds}")
        return fitted

    with ThreadPoolExecutor(max(1, slots(workspace.tables.spark) // workers)) as pool:
        fitted = list(pool.map(fit, units))
    return {name: fitted[i * encoder.folds : (i + 1) * encoder.folds] for i, name in enumerate(chosen)}


def _calibrate(workspace: Workspace, config: Config, phase: str) -> None:
    """Choose and fit the calibration on the teacher's out-of-fold margins; only binned counts reach the driver."""
    teacher = workspace.read(phase, "fused_scores")
    bins = binned_margins(teacher.where(F.col(PART) == TRAIN), ["fuser"])
    logits, labels, weights, folds = binned_rows(bins)
    calibrator = best_calibrator(logits, labels, groups=folds, weights=weights, seed=config.seed)
    workspace.models(phase).save("calibration", calibrator.to_dict())
    say("student", f"{phase}: calibrated by {type(calibrator).__name__}")
