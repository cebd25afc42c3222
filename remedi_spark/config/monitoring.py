"""Configuration of monitoring: what a scoring run warns of, and what stops it before ``scores`` is replaced."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from remedi_spark.config.section import Section

Limit = Annotated[float | None, Field(ge=0)]


class MonitoringConfig(Section):
    """Limits of what a scoring run measures; ``null`` never warns, or never stops."""

    enabled: bool = True
    """Measure each scoring run and append the figures to the table ``monitoring``."""
    estimates: bool = True
    """Estimate what each list holds before its labels are known: recall, precision, lift, AP, with their interval."""
    prior_shift: Annotated[float, Field(ge=0)] = 0.0
    """Deviation that the log-odds of the base rate may have from night to night, as told by the scores (EM); 0: they
    are taken as calibrated. On backtests it made no estimate better."""
    verify_sample: int = Field(default=0, ge=0, le=10_000)
    """Owners of whom every feature is computed by hand after each build (``remedi verify``); a run that finds a
    difference stops. 0: none."""
    psi_warn: Limit = 0.25
    """Population stability index of a feature against training, above which a run warns; what so few rows could show
    by chance is never told."""
    psi_stop: Limit = None
    score_psi_warn: Limit = 0.25
    """The same, of the score."""
    score_psi_stop: Limit = None
    loss_warn: Limit = 0.03
    """Share of the list's buyers that it loses if the drift of a feature is an error of its source, above which a run
    warns; below it, the PSI of that feature warns of nothing. ``null``: no cost is computed, PSI alone counts."""
    loss_stop: Limit = None
    retrain_loss: Annotated[float, Field(ge=0, le=1)] = 0.15
    """Share of the recall on test rows that a list may lose, as estimated, before retraining is proposed."""
    retrain_cost: Annotated[float, Field(ge=0)] = 0.0
    """Buyers of one list that a retraining is worth: a smaller loss proposes none."""
    null_rise_warn: Limit = 0.2
    """Share of nulls of a feature, less that at training."""
    null_rise_stop: Limit = None
    unseen_warn: Limit = 0.1
    """Share of rows whose category training never saw, less that at training (levels too rare to be kept)."""
    unseen_stop: Limit = None
    rows_lost_warn: Limit = 0.2
    """Share of the rows of the scoring run before that are missing in this one."""
    rows_lost_stop: Limit = None
    alert_url: Annotated[str | None, Field(pattern=r"^\$?[A-Za-z_][A-Za-z0-9_]*$")] = None
    """Environment variable that holds the URL of a webhook, such as ``REMEDI_ALERT_URL``: it gets a JSON object with
    ``text`` when a list is to be looked at, a model to be trained again, or a run has failed, each once."""
    alert_exit: Annotated[int | None, Field(ge=3, le=125)] = None
    """Exit code of a run that has done its work and raised an alert; null: 0, as without one."""
    lift_warn: Limit = 1.0
    """Realised lift at K of past scores, below which a run warns."""
    lift_stop: Limit = None
