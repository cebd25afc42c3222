"""How events become owner features and labels: the ``features`` section of the configuration."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from remedi_spark.config.measures import IN_HOURS, Days, Measure, Window, window_name
from remedi_spark.config.section import Section
from remedi_spark.config.sources import Attributes, Name, Source
from remedi_spark.errors import nearest

CalendarPart = Literal["month", "quarter", "week_of_year", "day_of_week", "day_of_month", "day_of_year"]

PLACEHOLDERS = ("category", "parent")
LEVEL = "level"
"""In ``called``: the level of ``each``."""


class Group(Section):
    """Events that are aggregated together; with ``each``, one group per level of a column.

    Features are named ``<group>_<measure>_<window>d``, or ``<group>_<level>_<measure>_<window>d`` with ``each``.
    """

    source: str
    """Name of the source."""
    where: str | None = None
    """SQL condition; ``{category}`` and ``{parent}`` stand for the label's category and its parent, as literals."""
    each: str | None = None
    """Column whose levels make one group each."""
    levels: list[str] | None = Field(default=None, max_length=1_000)
    """The levels of ``each``, by name."""
    top: int | None = Field(default=None, ge=1, le=1_000)
    """Instead of ``levels``: the most frequent ones among the events known at the first snapshot."""
    edges: list[float] | None = Field(default=None, min_length=1, max_length=100)
    """Instead of ``levels``, where ``each`` is a number: the limits, ascending, of its ranges (a histogram)."""
    calendar: Literal["weekday", "time_of_day"] | None = None
    """Instead of ``each``: one group for each weekday, or part of the day (``night`` from 0 h, ``morning`` from 6 h,
    ``afternoon`` from 12 h, ``evening`` from 18 h), of the event's time in the session's time zone."""
    windows: list[Window] | None = None
    """Windows in days, in hours (``6h``), or ``ever`` (all known history); null: ``features.windows``."""
    measures: dict[Name, Measure] = Field(min_length=1)
    """Measures by name."""
    called: tuple[str, str] | None = None
    """What reasons call one event and several: ``[visit to the {level} page, visits to the {level} page]``; with
    ``{level}`` for the level of ``each``, and ``{category}`` and ``{parent}`` as in ``where``."""

    @property
    def is_one(self) -> bool:
        """Whether it is one group, not one a level."""
        return self.each is None and self.calendar is None

    @model_validator(mode="after")
    def _levels_with_each(self) -> Self:
        given = sum(of is not None for of in (self.levels, self.top, self.edges))
        if given != (self.each is not None):
            raise ValueError("'each' (a column) needs exactly one of 'levels', 'top' and 'edges', and they need 'each'")
        if self.each is not None and self.calendar is not None:
            raise ValueError("both 'each' and 'calendar' are given; give one of them")
        if self.edges is not None and self.edges != sorted(set(self.edges)):
            raise ValueError(f"edges: found {self.edges}, expected ascending numbers")
        return self


class Ratio(Section):
    """Numerator over denominator, both of them features; null where the denominator is 0 or null."""

    over: tuple[str, str]
    """``[numerator, denominator]``."""


class Custom(Section):
    """Features that a Python class computes: see ``remedi_spark.features.custom.CustomFeatures``."""

    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """``module:Class``, importable where the job runs."""
    sources: list[Name] = Field(min_length=1)
    """Names of the sources whose events it gets."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class."""


class QuarantineConfig(Section):
    """What happens to rows that break the contract."""

    max_share: float = Field(default=0.05, ge=0, le=1)
    """Largest share of a table's rows that may fail; above it the run stops before it writes anything."""


class LabelConfig(Section):
    """What is predicted, over the days (t + gap, t + gap + horizon] after a snapshot on day t."""

    source: str
    """Name of the source."""
    column: str | None = None
    """Column in which ``category`` is looked up."""
    category: str | None = None
    """Label events are those with this value in ``column``."""
    parent: str | None = None
    """Column that the category belongs to (such as its department); groups may use its value as ``{parent}``."""
    filter: str | None = None
    """Label events as an SQL condition, instead of (or besides) ``column`` and ``category``."""
    kind: Literal["binary", "sum"] = "binary"
    """``binary``: 1 when the total reaches ``threshold``, else 0. ``sum``: the total itself, for regression."""
    of: str | None = None
    """What is totalled over the label events; null: their number."""
    threshold: float = Field(default=1.0, gt=0)
    """``binary`` only: the smallest total that makes a positive."""
    gap_days: int = 0
    """Days between the snapshot and the label window, for the time it takes to act."""
    horizon_days: Days = 28
    """Length of the label window in days."""
    at_risk_within_days: Days | None = None
    """``binary`` only: an owner without a known event within so many days before the snapshot is no negative example:
    its label is null unless it is positive. Null: every owner is at risk."""
    observed_from: dt.date | None = None
    """First day on which the label's events are observed (a log that begins later than others); null: all are."""
    observed_until: dt.date | None = None
    """Last day on which they are; null: ``snapshots.data_end``."""
    partly_observed: Literal["null", "positives"] = "null"
    """What a snapshot gets whose label window passes these ends: ``null``, or ``positives``: 1 if what was seen of it
    suffices already (kind binary, number of events), null otherwise. For training; shares of such rows say nothing."""

    @field_validator("gap_days")
    @classmethod
    def _no_overlap(cls, gap: int) -> int:
        if gap < 0:
            raise ValueError(f"a gap of {gap} days lets the label window overlap the features; give 0 or more")
        return gap

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.column is None) != (self.category is None):
            raise ValueError("'column' and 'category' go together")
        if self.parent is not None and self.category is None:
            raise ValueError("'parent' needs 'column' and 'category'")
        if self.kind == "sum" and self.at_risk_within_days is not None:
            raise ValueError("'at_risk_within_days' goes with kind binary: an amount of 0 is no negative example")
        if self.partly_observed == "positives" and (self.kind == "sum" or self.of is not None):
            raise ValueError("'partly_observed: positives' goes with kind binary without 'of': a sum may fall again")
        if self.observed_from and self.observed_until and self.observed_from > self.observed_until:
            raise ValueError(f"'observed_from' {self.observed_from} is after 'observed_until' {self.observed_until}")
        if self.kind == "sum" and self.of is None:
            raise ValueError("kind sum needs 'of': the column to sum")
        return self

    def in_words(self) -> str:
        """Say what is predicted."""
        what = self.category or self.filter or self.source
        doing = f"{self.of} of" if self.kind == "sum" else "buys"
        return f"{doing} {what} within {self.horizon_days} days"


class Snapshots(Section):
    """The days on which every known owner gets a row; day t counts as known at t (t is the end of that day)."""

    start: dt.date | None = None
    """First snapshot; null: the first event plus ``history_days``."""
    end: dt.date | None = None
    """No snapshot after this day; null: the end of the data."""
    every_days: Days = 7
    """Days between snapshots."""
    history_days: Days = 56
    """History that the first snapshot needs when ``start`` is null."""
    data_end: dt.date | None = None
    """Last complete day of the data: labels need their whole horizon up to it; null: the day of the latest event."""
    censored: Literal["latest", "all", "none"] = "latest"
    """Which snapshots without a complete label window are kept (for scoring, with a null label)."""


class Eligibility(Section):
    """Which owners have a row at a snapshot: those with an event known by then."""

    active_within_days: Days | None = None
    """The latest known event must lie within so many days; null: any time."""


class FeaturesConfig(Section):
    """Stage 1: owner features from events, point in time."""

    entity: str
    """Column that holds the owner's id in the sources."""
    sources: dict[Name, Source] = Field(min_length=1)
    """Event logs by name."""
    attributes: dict[Name, Attributes] = Field(default_factory=dict)
    """Owner attributes by name."""
    windows: list[Window] = Field(default=[7, 28, 84], min_length=1)
    """Windows in days: (t - W, t], or in hours to the end of day t (``6h``); ``ever`` is all known history."""
    groups: dict[Name, Group] = Field(min_length=1)
    """Aggregated groups of events by name."""
    ratios: dict[Name, Ratio] = Field(default_factory=dict)
    """Further features by name."""
    calendar: list[CalendarPart] = Field(default_factory=list)
    """Features of the snapshot's date."""
    custom: dict[Name, Custom] = Field(default_factory=dict)
    """Features that YAML cannot say, by name."""
    label: LabelConfig
    """What is predicted; it decides which snapshots are kept."""
    labels: dict[Name, LabelConfig] = Field(default_factory=dict)
    """Further labels by name, each in its column ``label_<name>``; the setting ``label`` chooses one to train on."""
    snapshots: Snapshots = Snapshots()
    """When."""
    eligibility: Eligibility = Eligibility()
    """For whom."""
    quarantine: QuarantineConfig = QuarantineConfig()
    """When bad rows stop the run."""
    refresh: Literal["incremental", "full"] = "incremental"
    """After a change of the sources, ``incremental`` computes what it touches, from partials kept in Delta; ``full``
    computes everything and keeps no partials, which is cheaper for sources that never change."""

    @property
    def labels_by_key(self) -> dict[str, LabelConfig]:
        """All labels by their key in the configuration, the main one first."""
        return {"label": self.label, **{f"labels.{name}": label for name, label in self.labels.items()}}

    @model_validator(mode="after")
    def _references(self) -> Self:
        if len({name.casefold() for name in self.labels}) < len(self.labels):
            raise ValueError(f"labels: {sorted(self.labels)} differ in case alone; rename one")
        labels = [(where, label.source) for where, label in self.labels_by_key.items()]
        for where, name in [*labels, *((f"groups.{k}", g.source) for k, g in self.groups.items())]:
            if name not in self.sources:
                raise ValueError(f"{where}.source: no source {name!r}{nearest(name, self.sources)}")
        for key, group in self.groups.items():
            self._check_group(key, group)
        for key, custom in self.custom.items():
            for name in custom.sources:
                if name not in self.sources:
                    raise ValueError(f"custom.{key}.sources: no source {name!r}{nearest(name, self.sources)}")
        tables: dict[str, Source | Attributes] = {**self.sources, **self.attributes}
        for key, table in tables.items():
            for column, reference in table.contract.references.items():
                if reference.to not in tables:
                    known = nearest(reference.to, tables)
                    raise ValueError(f"{key}.contract.references.{column}.to: no table {reference.to!r}{known}")
        if taken := {name.casefold() for name in self.sources} & {name.casefold() for name in self.attributes}:
            raise ValueError(f"{sorted(taken)} names both a source and attributes; rename one")
        return self

    def _check_group(self, key: str, group: Group) -> None:
        for name, measure in group.measures.items():
            windows = measure.windows or group.windows or self.windows
            hours = [window_name(window) for window in windows if window < 0]
            if hours and measure.aggregate not in IN_HOURS:
                raise ValueError(
                    f"groups.{key}.measures.{name}: {measure.aggregate} has no window in hours, found {hours[0]};"
                    f" give it windows in days (only {', '.join(IN_HOURS[:-2])} have hours)"
                )
            within = measure.within
            if within is not None and (within not in self.groups or not self.groups[within].is_one):
                plain = [other for other, declared in self.groups.items() if declared.is_one]
                raise ValueError(
                    f"groups.{key}.measures.{name}.within: {within!r} is not a group without 'each' or 'calendar'"
                    f"{nearest(within, plain)}"
                )
        self._check_placeholders(f"groups.{key}.where", group.where or "", PLACEHOLDERS)
        known = PLACEHOLDERS if group.is_one else (*PLACEHOLDERS, LEVEL)
        self._check_placeholders(f"groups.{key}.called", " ".join(group.called or ()), known)

    def _check_placeholders(self, where: str, text: str, known: tuple[str, ...]) -> None:
        for placeholder in re.findall(r"\{(\w*)\}", text):
            if placeholder not in known:
                listed = " and ".join(f"{{{name}}}" for name in known)
                raise ValueError(f"{where}: unknown {{{placeholder}}}; known: {listed}")
            if placeholder != LEVEL and getattr(self.label, placeholder) is None:
                raise ValueError(f"{where} uses {{{placeholder}}}, but label.{placeholder} is not set")
