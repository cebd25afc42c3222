"""Ablations on demand: what each part of the method adds, on the same test rows.

Reads what stages 2 and 3 left of the measured phase; writes ``ablation_scores``: one margin column each for
``fuser_plain`` (no relative features), ``fuser_convex``, ``fuser_stack``, ``fuser_mlp`` (one expert alone) and
``student_labels_only`` (the student's models, fitted on labels instead of the teacher). The other lines that the method
is compared with (each base model, mean, rank-mean, logistic stack) are measured in every report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import CARRIED, LABEL, PART, WEIGHT
from remedi_spark.config import Config
from remedi_spark.config.chain import EXPERTS, FuserConfig
from remedi_spark.ensemble.base_scores import base_scores, relative_of
from remedi_spark.ensemble.fuser import fit_fuser, fuse, fuser_inputs
from remedi_spark.labels.kind import task_of
from remedi_spark.models.contract import TARGET
from remedi_spark.models.cross_fit import FoldFits, cross_fit, mean_margin
from remedi_spark.models.predict import score_by_fold
from remedi_spark.models.row_caps import Shares
from remedi_spark.models.row_draws import as_drawn
from remedi_spark.progress import log, step
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.holdout import TEST, TRAIN
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.kept import kept
from remedi_spark.spark.side_by_side import side_by_side
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


STUDENT = "student_labels_only"


def names(config: Config) -> list[str]:
    """Return the columns of ``ablation_scores``."""
    return [STUDENT, *_fusers(config.fuser)]


def run(workspace: Workspace, config: Config) -> None:
    """Fit every ablation of the measured phase and score its test rows."""
    facts = workspace.models(FINAL).load("phases")
    phase = facts["measured_phase"]
    about = facts["phases"][phase]
    scores = _student(workspace, config, phase, about["prior"])
    fusers = _fusers(config.fuser)
    # Each fit is one task for the most part.
    for fused in side_by_side(lambda name: _fused(workspace, config, phase, name, fusers[name]), list(fusers)):
        scores = join_rows(scores, fused)
    workspace.write(phase, "ablation_scores", scores)


def _fusers(config: FuserConfig) -> dict[str, FuserConfig]:
    plain = {"fuser_plain": config.model_copy(update={"relative_features": False})}
    return plain | {f"fuser_{expert}": config.model_copy(update={"experts": (expert,)}) for expert in EXPERTS}


def _fused(workspace: Workspace, config: Config, phase: str, name: str, settings: FuserConfig) -> DataFrame:
    about = workspace.models(FINAL).load("phases")["phases"][phase]
    rows, relative = base_scores(workspace, config, phase), relative_of(workspace, config, phase)
    inputs = fuser_inputs(relative.names, relative=settings.relative_features)
    task = task_of(config, workspace.models(phase))
    train = rows.where(F.col(PART) == TRAIN).withColumn(LABEL, task.target())
    fitted = fit_fuser(
        train, relative, inputs, settings, loss=task.loss, folds=config.base_models.folds,
        seed=config.seed, rows=about["rows_used"], positives=about["positives_used"],
    )  # fmt: skip
    log("ablations", name)
    return fuse(rows.where(F.col(PART) == TEST), relative, fitted).select(*CARRIED, F.col("fuser").alias(name))


def _student(workspace: Workspace, config: Config, phase: str, prior: float) -> DataFrame:
    encoder = Encoder.from_dict(workspace.models(phase).load("encoder"))
    encoded = workspace.read(phase, "encoded")
    task = task_of(config, workspace.models(phase))
    shares = Shares(**workspace.models(phase).load("training")["shares"]) if task.binary else Shares()
    train = encoded.where(F.col(PART) == TRAIN).withColumns(
        {TARGET: task.target(), WEIGHT: as_drawn(shares, F.col(LABEL) > 0)}
    )  # fmt: skip
    with kept(train) as rows:
        counted, positives = rows.agg(F.count("*"), F.count_if(F.col(LABEL) > 0)).collect()[0]
        plan = FoldFits(
            encoder.layout, encoder.folds, TARGET, task.loss, shares.prior(prior), counted,
            config.base_models.validation_share, config.base_models.workers or 1, config.seed * 1000 + 500,
            task.amounts(),
            positives=positives if task.binary else 0,
        )  # fmt: skip
        fits = cross_fit(
            rows, config.student.enabled, plan,
            lambda name, fold, *_: step("ablations", f"{STUDENT}: {name} fold {fold + 1}/{encoder.folds}"),
        )  # fmt: skip
    found = fits.whole().by_name(encoder.folds)
    models = {name: [one.on_line(1.0, shares.shift) for one in folds] for name, folds in found.items()}
    test = encoded.where(F.col(PART) == TEST).select(*CARRIED, "x", "te")
    margins = score_by_fold(test, models, encoder.layout)
    return margins.withColumn(STUDENT, mean_margin(list(models))).drop(*models)
