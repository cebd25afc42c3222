"""Stage 5: a student that reads raw features only, instead of a teacher that needs every base model.

A distilled student learns the teacher's margins by a weighted MSE, on all training rows, labelled or not, and on rows
made up from them. On probabilities the gradients of rare events would be tiny; on margins without weights its trees
would go to rows that nobody contacts. Where it keeps too little of the teacher's ranking, ``student.kind: auto`` ships
the greedy selection of base models; that is found without a label, so that no metric is spoiled by the choice.
The calibration is fitted on the *teacher's* out-of-fold margins: a distilled student's own are not honest, because the
teacher's scores of the other folds were learned with this fold's labels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import FOLD, LABEL, PART, ROW_HASH, WEIGHT
from remedi_spark.config import Config
from remedi_spark.ensemble.base_scores import relative_of
from remedi_spark.ensemble.fit_size import other_rows
from remedi_spark.ensemble.retention import kept_share
from remedi_spark.ensemble.stored_fits import StoredFits
from remedi_spark.ensemble.student_parts import PARTS, Parts, ensemble_members, parts_of, selected
from remedi_spark.ensemble.synthetic import Teacher, taught_rows
from remedi_spark.labels.kind import task_of
from remedi_spark.maths.label_scale import score_map_from_dict
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
from remedi_spark.scoring.monitoring.holdout import count_holdout
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.kept import kept
from remedi_spark.spark.partitions import uniform
from remedi_spark.spark.side_by_side import side_by_side
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pyspark.sql import DataFrame

    from remedi_spark.ensemble.student_parts import Kind
    from remedi_spark.labels.kind import Task
    from remedi_spark.samples.layout import Layout

DESCRIBED_ROWS = 20_000
"""About how many training rows are scored once more to know how scores are distributed."""


def run(workspace: Workspace, config: Config) -> None:
    """Train, calibrate and apply the student of every phase: of the same kind in all."""
    facts = workspace.models(FINAL).load("phases")
    binary, first = task_of(config, workspace.models(FINAL)).binary, facts["measured_phase"]
    _make_all(workspace, config, facts["phases"], "ensemble" if config.student.kind == "ensemble" else "distilled")
    if config.student.kind == "auto" and binary:
        share = kept_share(workspace.read(first, "student_scores"), config.seed)
        if not _enough(share, first, config):
            _make_all(workspace, config, facts["phases"], "ensemble")
        workspace.models(first).save(PARTS, replace(parts_of(workspace, first), kept=share).to_dict())
    _describe(workspace, config)
    if binary:
        _hold_out(workspace, first)


def _enough(share: float, phase: str, config: Config) -> bool:
    """Tell whether a distilled student keeps enough of the teacher's ranking on the test rows."""
    enough = share >= config.student.keep
    told = f"{phase}: distilled, it keeps {share:.1%} of the teacher's AP as far as can be told without labels"
    log("student", told + ("" if enough else f", less than student.keep ({config.student.keep:.0%})"))
    return enough


def _make_all(workspace: Workspace, config: Config, phases: Collection[str], kind: Kind) -> None:
    """Make the students of all phases at once: a fit fills one slot, and the shipped one need not wait to be judged."""
    side_by_side(lambda phase: _make(workspace, config, phase, kind), phases)


def _make(workspace: Workspace, config: Config, phase: str, kind: Kind) -> None:
    store = workspace.models(phase)
    task = task_of(config, store)
    rows = join_rows(workspace.read(phase, "encoded"), workspace.read(phase, "fused_scores"))
    with kept(rows) as held:
        teacher = held if kind == "distilled" else held.withColumn("fuser", F.col("selection"))
        _calibrate(workspace, task, phase, teacher)
        if kind == "distilled":
            with kept(_lessons(workspace, config, phase, held.where(F.col(PART) != TEST))) as lessons:
                models = _fit(workspace, config, phase, lessons)
            parts = Parts(kind, list(models))
        else:
            models = ensemble_members(workspace, config, phase)
            parts = Parts(kind, list(models), selected(workspace, phase), config.base_models.folds)
            log("student", f"{phase}: {_told(parts, config)}")
            for name, folds in models.items():
                for fold, one in enumerate(folds):
                    store.save_fitted(one, "student", name, f"fold_{fold}")
        store.save(PARTS, parts.to_dict())
        _score(workspace, phase, held.where(F.col(PART) == TEST), models)


def _told(parts: Parts, config: Config) -> str:
    shares = ", ".join(f"{name} {weight:.0%}" for name, weight in parts.weights.items())
    return (
        f"an ensemble of base models ({shares}); a row is scored by {len(parts.names)} x {config.base_models.folds}"
        f" models, where the distilled student would be {len(config.student.enabled)}"
    )


def _calibrate(workspace: Workspace, task: Task, phase: str, rows: DataFrame) -> None:
    """Fit the way from margin to score on the teacher's out-of-fold margins."""
    score_map = task.score_map(rows.where(F.col(PART) == TRAIN))
    workspace.models(phase).save("calibration", score_map.to_dict())
    log("student", f"{phase}: calibrated by {type(score_map).__name__}")


def _lessons(workspace: Workspace, config: Config, phase: str, rows: DataFrame) -> DataFrame:
    """Return what the student learns: training rows and rows made up from them, with target and weight."""
    settings, store = config.student, workspace.models(phase)
    task, layout, there = task_of(config, store), _layout(workspace, phase), store.load("training")["taught"]
    known = min(there, other_rows(config, layout.width, 0))
    if known < there:
        rows = rows.where(uniform(ROW_HASH, config.seed + 78) < known / there)
    lessons = rows.select(BLOCK, WEIGHT, ROW_HASH, FOLD, "x", "te", "fuser", LABEL)
    others = other_rows(config, layout.width, known)
    wanted = min(round(settings.synthetic * known), settings.max_synthetic, others)
    if wanted and not config.meta_features.peers:
        made_up = taught_rows(rows, layout, _teacher(workspace, config, phase), wanted, known, config.seed)
        lessons = lessons.unionByName(made_up.withColumn(LABEL, F.lit(None).cast(rows.schema[LABEL].dataType)))
    return lessons.withColumns({
        TARGET: task.student_target(settings.label_weight), WEIGHT: task.student_weight(store.load("training")["prior"])
    })  # fmt: skip


def _teacher(workspace: Workspace, config: Config, phase: str) -> Teacher:
    names = workspace.models(FINAL).load("phases")["phases"][phase]["models"]
    fits = StoredFits(workspace, phase, "base-models", ("encoded",))
    return Teacher(
        fits.load(names, config.base_models.folds), task_of(config, workspace.models(phase)).comparable(),
        workspace.models(phase).load_fitted("fuser", "fuser"), relative_of(workspace, config, phase),
    )  # fmt: skip


def _fit(workspace: Workspace, config: Config, phase: str, rows: DataFrame) -> dict[str, list[Fitted]]:
    """Fit the student's models, each on all rows; return them by name."""
    settings, folds = config.student, config.base_models.folds
    mixes_labels = task_of(config, workspace.models(phase)).binary and settings.label_weight > 0
    plan = FoldFits(
        _layout(workspace, phase), folds, TARGET, "mse", 0.0, rows.count(), config.base_models.validation_share,
        config.base_models.workers or 1, config.seed * 1000 + 500,
        label=LABEL if mixes_labels else None, label_weight=settings.label_weight if mixes_labels else 0.0,
        seconds=config.spark.unit_seconds,
    )  # fmt: skip
    fits = StoredFits(workspace, phase, "student", ("encoded", "fused_scores"), whole=True)
    if failed := fits.fit(rows, settings.enabled, plan):
        raise FitError(f"parts of the student could not be fitted, the others are kept: {failed}")
    return fits.load(list(settings.enabled), folds)


def _score(workspace: Workspace, phase: str, rows: DataFrame, models: dict[str, list[Fitted]]) -> None:
    """Write the student's margins beside what each row has been given so far."""
    # A part of the student may have the name of a base model, whose score is in the row.
    parts: dict[str, Sequence[Fitted]] = {f"student_{name}": fitted for name, fitted in models.items()}
    margins = score_by_fold(rows.drop(BLOCK), parts, _layout(workspace, phase))
    student = margins.withColumn("student", mean_margin(list(parts)))
    workspace.write(phase, "student_scores", student.drop(*parts))


def _hold_out(workspace: Workspace, phase: str) -> None:
    """Keep how the probabilities turned out on the test rows: what a list is worth is estimated from that."""
    tests = workspace.read(phase, "student_scores").where((F.col(PART) == TEST) & F.col(LABEL).isNotNull())
    calibrate = score_map_from_dict(workspace.models(phase).load("calibration"))
    workspace.models(FINAL).save("holdout_scores", count_holdout(tests, "student", calibrate).to_dict())


def _layout(workspace: Workspace, phase: str) -> Layout:
    return Encoder.from_dict(workspace.models(phase).load("encoder")).layout


def _describe(workspace: Workspace, config: Config) -> None:
    """Keep how the shipped model scores training rows: scored rows are compared with what the same model makes.

    Out-of-fold scores would not do: each is of one fold's model, and the mean of all is less spread. Nor would the
    encoded rows: a training row's target encoding leaves its own fold out, that of a row to score does not.
    """
    store = workspace.models(FINAL)
    about = parts_of(workspace, FINAL)
    students = load_students(store, about.names, about.models_each)
    parts = BundleParts(store.load("encoder"), students, store.load("calibration"), model_version="")
    share = DESCRIBED_ROWS / max(1, store.load("training")["rows"])
    trained = F.col(LABEL).isNotNull() & (F.col("source") != TEST) & (uniform(ROW_HASH, config.seed) < share)
    with kept(score_canonical(workspace.tables.read("samples").where(trained), parts)) as scored:
        store.save("score_distribution", describe_scores(scored))
