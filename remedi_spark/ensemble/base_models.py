"""Stage 2: K folds x M diverse base models, and an out-of-fold prediction of every training row.

Reads ``samples``. For each phase (``holdout``: trained without the test rows; ``final``: on every labelled row) writes
``encoded`` (rows as numbers), the fitted models, and ``oof_predictions``: one row a (owner, snapshot), one column a
model with its score: a probability brought to the true prior, or an amount. A training row is scored by the models that
never saw its owner; any other row by the mean of the fold models.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import CARRIED, LABEL, PART, WEIGHT
from remedi_spark.config import Config
from remedi_spark.ensemble.fit_size import workers_of
from remedi_spark.ensemble.phases import Phase, load_phase, prepare_all
from remedi_spark.ensemble.stored_fits import StoredFits
from remedi_spark.errors import InputError
from remedi_spark.labels.kind import task_of
from remedi_spark.models.contract import TARGET, FitError
from remedi_spark.models.cross_fit import LATE, FoldFits
from remedi_spark.models.fit_facts import fit_facts, weak_members
from remedi_spark.models.predict import score_by_fold
from remedi_spark.models.registry import family_of
from remedi_spark.models.row_draws import as_drawn
from remedi_spark.progress import warn
from remedi_spark.samples.encoder import Encoder
from remedi_spark.samples.holdout import TEST, TRAIN, Holdout, at_most_tested, choose_holdout
from remedi_spark.samples.schema import FeatureContract
from remedi_spark.spark.capabilities import capabilities
from remedi_spark.spark.kept import kept
from remedi_spark.spark.partitions import slots
from remedi_spark.storage.fitted import Fitted
from remedi_spark.storage.store import checksums, read_json
from remedi_spark.storage.workspace import FINAL, HOLDOUT, WARNINGS, Workspace

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


def run(workspace: Workspace, config: Config) -> dict[str, Any]:
    """Fit all base models of all phases; return how the test rows were chosen and each phase's size."""
    samples = workspace.tables.read("samples")
    contract = FeatureContract.from_dict(workspace.models(FINAL).load("contract"))
    facts: dict[str, Any] = {"phases": {}, "failed": [], "warnings": _noted(workspace)}
    own_test = bool(samples.where(F.col("source") == TEST).head(1))
    final = Holdout(_final_part(), "the table given by --test, which no stage was trained on")
    measured = final if own_test else _chosen(workspace, config, samples)
    measured = at_most_tested(measured, samples, config.evaluation.max_test_rows, config.seed)
    parts = {FINAL: measured.part} if own_test else {HOLDOUT: measured.part, FINAL: final.part}
    prepare_all(workspace, config, contract, samples, measured, parts)
    limit, among = config.base_models.time_limit, None
    for name in parts:
        phase = load_phase(workspace, name)
        # Every phase has the members of the first: what is shipped is what was measured.
        late = time.monotonic() + limit / len(parts) if limit and among is None else None
        names, failed = _fit_all(workspace, config, phase, among, late)
        among = names
        _predict_once(workspace, config, phase, names)
        workspace.ledger.flush()  # fits are the dearest work there is
        fits = fit_facts(_infos(workspace, name, names, config.base_models.folds))
        facts["phases"][name] = {
            "rows": phase.rows, "rows_used": phase.used, "positives_used": phase.positives, "prior": phase.prior,
            "models": names, "fits": fits,
        }  # fmt: skip
        facts["failed"] += [{"model": model, "phase": name, "reason": reason} for model, reason in failed.items()]
    facts["warnings"] += [*_said_of_columns(workspace, contract), *_said_of_members(config, facts)]
    facts |= {"measured_on": measured.description, "measured_phase": FINAL if own_test else HOLDOUT}
    workspace.models(FINAL).save("phases", facts)
    return facts


def _infos(workspace: Workspace, phase: str, names: list[str], folds: int) -> dict[str, list[dict[str, Any]]]:
    """Return what the fits told beside their models, by model and fold."""
    folder = workspace.models(phase).root / "base_models"
    return {name: [read_json(folder / name / f"fold_{fold}.json")["info"] for fold in range(folds)] for name in names}


def _noted(workspace: Workspace) -> list[str]:
    """Return what an earlier stage has noted for the user."""
    store = workspace.models(FINAL)
    return list(store.load(WARNINGS)) if store.has(WARNINGS) else []


def _said_of_columns(workspace: Workspace, contract: FeatureContract) -> list[str]:
    """Warn of columns that are not read because their levels come and go; return the sentences."""
    encoder = Encoder.from_dict(workspace.models(FINAL).load("encoder"))
    said = [
        f"{contract.names[i]} is not read: its levels come and go, {share:.0%} of the latest quarter of the training"
        " rows hold levels that earlier rows lack (encoding.max_passing); give what lasts of it, such as a kind"
        for i, share in encoder.passing.items()
    ]
    for sentence in said:
        warn("base-models", sentence)
    return said


def _said_of_members(config: Config, facts: dict[str, Any]) -> list[str]:
    """Warn of members that learned nothing; return the sentences."""
    most = {name: getattr(model, "num_iterations", 0) for name, model in config.base_models.models.items()}
    said = weak_members(facts["phases"][FINAL]["fits"], most)
    for sentence in said:
        warn("base-models", sentence)
    return said


def _chosen(workspace: Workspace, config: Config, samples: DataFrame) -> Holdout:
    task = task_of(config, workspace.models(FINAL))
    above = task.rare_above(samples.where(F.col(LABEL).isNotNull()))
    return choose_holdout(samples, config.evaluation, config.seed, above, both=task.binary)


def _final_part() -> Column:
    labelled = F.when(F.col(LABEL).isNull(), F.lit("unlabelled")).otherwise(F.lit(TRAIN))
    return F.when(F.col("source") == TEST, F.lit(TEST)).otherwise(labelled)


def _fit_all(
    workspace: Workspace, config: Config, phase: Phase, among: Sequence[str] | None, deadline: float | None
) -> tuple[list[str], dict[str, str]]:
    """Fit every enabled model for every fold, as many side by side as there are slots.

    Return the models that worked, and by name why the others did not.

    Args:
        workspace: where they are kept.
        config: of the run.
        phase: whose rows they are fitted on.
        among: the models in question; None: all.
        deadline: see :class:`FoldFits`.
    """
    settings = config.base_models
    task = task_of(config, workspace.models(phase.name))
    models = {name: one for name, one in task.members(settings.models).items() if among is None or name in among}
    available = slots(workspace.tables.spark)
    rows = workspace.read(phase.name, "encoded").where(F.col(PART) == TRAIN)
    workers = workers_of(config, phase.used, phase.encoder.layout.width, available)
    _require_barrier(workspace.tables.spark, workers)
    if workers > available:
        raise InputError(
            f"base_models.workers: found {workers}, but only {available} tasks can run at once; lower it, or give the "
            "job more cores"
        )
    parallel = settings.parallel or max(1, available // workers)
    rows, prior = rows.withColumn(TARGET, task.target()), phase.prior
    if task.binary:  # a log-loss wants no weights that stand for others: its prior is corrected, and it errs less
        rows, prior = rows.withColumn(WEIGHT, as_drawn(phase.shares, F.col(LABEL) > 0)), phase.shares.prior(prior)
    plan = FoldFits(
        phase.encoder.layout, settings.folds, TARGET, task.loss, prior, phase.used, settings.validation_share, workers,
        config.seed * 1000, task.amounts(), seconds=config.spark.unit_seconds, positives=phase.positives,
        deadline=deadline, at_hand=True,
    )  # fmt: skip
    # Long fits first, so that the short ones fill the gaps at the end; under a deadline, as many as can be done.
    efforts = {name: family_of(model).effort(model) for name, model in models.items()}
    order = sorted(models, key=efforts.__getitem__, reverse=deadline is None)
    fits = StoredFits(workspace, phase.name, "base-models", ("encoded",))
    with kept(rows) as held:
        failures = fits.fit(held, {name: models[name] for name in order}, plan, parallel=parallel)
    return _survivors(list(models), failures, settings.on_failure), failures


def _survivors(names: list[str], failures: dict[str, str], on_failure: str) -> list[str]:
    if on_failure == "stop" and any(reason != LATE for reason in failures.values()):
        raise FitError(f"base_models.on_failure is stop, and these failed: {failures}")
    for name, reason in failures.items():
        warn("base-models", f"{name} is dropped from the ensemble: {reason}")
    left = [name for name in names if name not in failures]
    if len(left) < 2:
        raise FitError(f"only {len(left)} base models left, expected at least 2; failed: {failures}")
    return left


def _require_barrier(spark: SparkSession, workers: int) -> None:
    """Refuse fits over several tasks where Spark has no barrier stages."""
    if workers > 1 and not capabilities(spark).can_barrier:
        raise InputError(
            f"base_models.workers: a fit takes {workers} tasks at once, which Spark does not do under dynamic"
            " allocation; --conf spark.dynamicAllocation.enabled=false, or --set base_models.workers=1"
        )


def _predict_once(workspace: Workspace, config: Config, phase: Phase, names: list[str]) -> None:
    models = checksums(workspace.models(phase.name).root, [f"base_models/{name}/*" for name in names])
    unit = workspace.unit(
        f"base-models/{phase.name}/predictions", [names, models], phase=phase.name,
        reads=["encoded"], writes=["oof_predictions"], files=["alignment.json"],
    )  # fmt: skip
    workspace.ledger.once(unit, lambda: _predict(workspace, config, phase, names))


def _predict(workspace: Workspace, config: Config, phase: Phase, names: list[str]) -> None:
    """Score all rows by all models in one native pass, then make the models' scores comparable.

    Undoing the sampling shifts the log-odds (:attr:`Shares.shift`). A focal model's margins are not log-odds; what the
    shift leaves of them the alignment brings to the prior.
    """
    store = workspace.models(phase.name)
    task = task_of(config, store)
    fits = StoredFits(workspace, phase.name, "base-models", ("encoded",))
    models: dict[str, Sequence[Fitted]] = {**fits.load(names, phase.encoder.folds)}
    encoded = workspace.read(phase.name, "encoded")
    margins = score_by_fold(encoded.select(*CARRIED, "x", "te"), models, phase.encoder.layout)
    if task.binary:
        margins = margins.withColumns({name: F.col(name) + F.lit(phase.shares.shift) for name in names})
    with kept(margins, on_disk=True) as held:
        workspace.write(phase.name, "oof_predictions", task.predictions(held, names))
