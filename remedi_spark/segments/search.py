"""Hyper-parameters of the inner loop searched on the meta-validation segments (Optuna, tree-structured Parzen)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from remedi_spark.config.adapt import AdaptConfig
from remedi_spark.progress import log

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna


def search(config: AdaptConfig, measure: Callable[[AdaptConfig], float], seed: int) -> AdaptConfig:
    """Return the configuration whose ``measure`` is largest.

    Args:
        config: where to start; its own values are the first trial, so that a search never ends below them.
        measure: validation AP of a short meta-training with a configuration; nan where all tasks diverged.
        seed: of the sampler.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(_present(config))

    def objective(trial: optuna.Trial) -> float:
        found = measure(with_values(_short(config), _suggest(trial, config)))
        log("adapt", f"trial {trial.number + 1} of {config.search.trials}: AP {found:.4f} {trial.params}")
        if math.isnan(found):
            raise optuna.TrialPruned
        return found

    study.optimize(objective, n_trials=config.search.trials)
    if not any(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials):
        return config
    return with_values(config, study.best_params)


def _present(config: AdaptConfig) -> dict[str, Any]:
    meta = config.meta
    values = {"inner_rate": meta.inner_rate, "inner_steps": meta.inner_steps}
    return values if meta.algorithm == "anil" else {**values, "layers": meta.layers}


def _suggest(trial: optuna.Trial, config: AdaptConfig) -> dict[str, Any]:
    values: dict[str, Any] = {
        "inner_rate": trial.suggest_float("inner_rate", 1e-3, 3.0, log=True),
        "inner_steps": trial.suggest_int("inner_steps", 1, 10),
    }
    if config.meta.algorithm != "anil":
        values["layers"] = trial.suggest_categorical("layers", ["all", "body", "wide", "head"])
    return values


def _short(config: AdaptConfig) -> AdaptConfig:
    bayes = config.bayes.model_copy(update={"dims": 0})  # its arm does not depend on what is searched
    return with_values(config.model_copy(update={"bayes": bayes}), {"iterations": config.search.iterations})


def with_values(config: AdaptConfig, values: dict[str, Any]) -> AdaptConfig:
    """Return the configuration with other values in its ``meta`` section."""
    return config.model_copy(update={"meta": config.meta.model_copy(update=values)})
