"""Read this first: the whole chain as data, in the order in which data flows.

A stage may touch only what stands here. Ledger keys, verbs, their help, the table in the docs, the Databricks job and
the backtest follow from it (:mod:`remedi_spark.running`); the ways through it are in :mod:`remedi_spark.chain`.
Base models, fuser and student are built twice where the metrics need it: in the ``holdout`` phase without the test
rows, to be measured; in the ``final`` phase from every labelled row, to be shipped.
"""

from __future__ import annotations

from dataclasses import replace

from remedi_spark.stage import Stage

FEATURES = Stage(
    "features", "features", "Point-in-time owner features and labels, from events.",
    "features.stage:refresh_all",
    writes=("owner_features", "feature_dictionary", "quarantine", "feature_state", "{source}", "{source}_daily",
            "{source}_values", "{source}_past"),
    settings=("features",), resumes=True,
)  # fmt: skip
VERIFY = Stage(
    "verify", "verify", "Features of sampled owners, computed by hand and compared.",
    "features.verify:run", reads=("owner_features", "feature_state"), writes=("verification",),
    settings=("monitoring.verify_sample",), sees=("features", "seed"), resumes=True, timed=False,
)  # fmt: skip
SAMPLES = Stage(
    "samples", "base-models", "Checked rows, from owner features or any table.",
    "samples.stage:from_owner_features", reads=("owner_features", "feature_dictionary"),
    writes=("samples", "contract.json", "dictionary.json", "warnings.json"),
    settings=("task", "evaluation.train_from", "label"),
    sees=("features", "evaluation.test_share", "base_models", "student", "regression"), unseals=True,
)  # fmt: skip
FROM_TABLE = replace(SAMPLES, function="samples.stage:from_table", reads=())
BASE_MODELS = Stage(
    "base-models", "base-models", "Folds of diverse base models, and their predictions.",
    "ensemble.base_models:run", reads=("samples", "contract.json", "warnings.json"),
    writes=("encoded", "oof_predictions", "phases.json", "encoder.json", "training.json",
            "distribution.json", "labels.json", "label_weights.json", "alignment.json", "base_models/*.json"),
    settings=("seed", "task", "regression", "encoding", "evaluation.test_from", "evaluation.test_share",
              "evaluation.max_test_rows", "evaluation.embargo_days", "base_models.folds", "base_models.models",
              "base_models.max_rows", "base_models.validation_share", "student.max_spare", "spark.task_memory"),
    sees=("student", "base_models", "meta_features.peers"), each_phase=True, resumes=True, unseals=True,
)  # fmt: skip
FUSER = Stage(
    "fuser", "fuser", "Relative features, and the fuser that reads them.",
    "ensemble.fuser_stage:run", reads=("oof_predictions", "samples"),
    looks_at=("contract.json", "phases.json", "labels.json", "label_weights.json", "alignment.json"),
    writes=("fused_scores", "quantile_grids.json", "fuser/fuser.*"),
    settings=("meta_features", "fuser", "seed", "task", "base_models.folds"), sees=("regression",), each_phase=True,
    unseals=True,
)  # fmt: skip
STUDENT = Stage(
    "student", "student", "One student, distilled from the fuser; calibrated.",
    "ensemble.student:run",
    reads=("encoded", "fused_scores"),
    looks_at=("samples", "contract.json", "phases.json", "encoder.json", "training.json", "labels.json",
              "alignment.json", "label_weights.json", "base_models/*.json", "quantile_grids.json", "fuser/fuser.*"),
    writes=("student_scores", "student/*/*.*", "student_parts.json", "calibration.json", "score_distribution.json",
            "holdout_scores.json"),
    settings=("student", "seed", "task", "base_models.folds", "base_models.validation_share", "spark.task_memory"),
    sees=("regression", "base_models.workers", "meta_features.peers"), each_phase=True, unseals=True,
)  # fmt: skip
SEAL = Stage(
    "seal", "student", "The bundle: what a score depends on, with checksums.",
    "ensemble.student_parts:seal", looks_at=("student_parts.json",), resumes=True,
    timed=False, publishes=True,
)  # fmt: skip
SCORES = Stage(
    "scores", "scores", "Scores of the latest snapshot, by the published model.",
    "scoring.stage:run", reads=("owner_features",), writes=("scores", "monitoring"),
    settings=("scores", "monitoring"), sees=("features", "task", "label"),
)  # fmt: skip
REPORT = Stage(
    "report", "report", "How good the list is on test rows; the report.", "measuring:measure",
    reads=("student_scores", "monitoring"), looks_at=("*",),
    writes=("metrics.json", "report.html", "report.json"),
    settings=("evaluation", "scores", "student", "base_models", "task", "regression", "mlflow"), sees=("*",),
    publishes=True,
)  # fmt: skip
ABLATIONS = replace(
    REPORT, name="ablations", does="The method without each of its parts.", function="ensemble.ablations:run",
    writes=("ablation_scores",), resumes=True, publishes=False,
)  # fmt: skip
GUIDE_MODEL = Stage(
    "guide-model", "guide", "One model of owner and item pairs, measured on later snapshots.", "guides.model:run",
    writes=("guide_history", "guide_pairs", "guide_model.txt", "guide_model.json", "guide_facts.json", "guide.html"),
    settings=("features", "seed", *(f"guide.{name}" for name in (
        "source", "item", "parent", "value", "texts", "horizon_days", "rates", "max_items", "candidates",
        "learning_snapshots", "test_snapshots", "trees", "cold", "recommenders"))),
    sees=("guide", "root"),
)  # fmt: skip
GUIDE_LISTS = Stage(
    "guide", "guide", "For each owner the items to show next.", "guides.stage:run", reads=("guide_history",),
    looks_at=("guide_model.txt", "guide_model.json", "guide_facts.json"), writes=("guide",), settings=("guide",),
    sees=("features",),
)  # fmt: skip
STAGES = (FEATURES, SAMPLES, BASE_MODELS, FUSER, STUDENT, SEAL, SCORES, REPORT)


def verbs() -> dict[str, list[Stage]]:
    """Return the stages of each verb of the chain, in order."""
    return {verb: [one for one in STAGES if one.verb == verb] for verb in dict.fromkeys(one.verb for one in STAGES)}


def verb_help(verb: str) -> str:
    """Return what a verb does, in sentences: first the stage that it is named after."""
    return " ".join(stage.does for stage in sorted(verbs()[verb], key=lambda stage: stage.name != verb))
