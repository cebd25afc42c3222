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
    null_rise_warn: Limit = 0.2
    """Share of nulls of a feature, less that at training."""
    null_rise_stop: Limit = None
    unseen_warn: Limit = 0.1
    """Share of rows whose category training never saw, less that at training (levels too rare to be kept)."""
    unseen_stop: Limit = None
    rows_lost_warn: Limit = 0.2
    """Share of the rows of the scoring run before that are missing in this one."""
    rows_lost_stop: Limit = None
    lift_warn: Limit = 1.0
    """Realised lift at K of past scores, below which a run warns."""
    lift_stop: Limit = None
