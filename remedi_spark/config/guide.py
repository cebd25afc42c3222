"""Configuration of the guide, what to show each owner next: the ``guide`` section."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from remedi_spark.config.section import Section
from remedi_spark.config.sources import Location

Share = Annotated[float, Field(ge=0, le=1)]


class Stock(Location):
    """A table that lists the items that may be shown now."""

    column: str
    """Its column with the item."""


class GuideTreesConfig(Section):
    """The pooled LightGBM on owner and item pairs."""

    trees: int = Field(default=120, ge=1)
    learning_rate: float = Field(default=0.08, gt=0)
    num_leaves: int = Field(default=63, ge=2)
    min_data_in_leaf: int = Field(default=200, ge=1)
    """Lowered where there are few rows: a leaf never needs more than a fiftieth of them."""
    feature_fraction: float = Field(default=0.5, gt=0, le=1)
    lambda_l2: float = Field(default=5.0, ge=0)
    rows: int = Field(default=600_000, ge=1000)
    """About how many pairs it is fitted on: all that were bought, and a uniform sample of the others."""
    owners: int = Field(default=20_000, ge=1)
    """Most owners that it is fitted on and measured with, chosen by hash."""


class GuideColdConfig(Section):
    """Items that few have bought yet."""

    buyers: int = Field(default=50, ge=0)
    """An item with at most so many buyers is cold: its shares are not used, those who bought it, its parent and its
    words are."""
    share: float = Field(default=0.2, ge=0, lt=1)
    """Share of the known items that are hidden at each learning snapshot, so that the model learns what cold means."""
    shown: tuple[Annotated[int, Field(ge=0)], ...] = (0, 5, 10, 20, 50)
    """How many buyers of a hidden item are left to see; each draws one of these."""


class RecommendersConfig(Section):
    """Simple recommenders whose scores are features; each is learned on what was known at its snapshot."""

    owners: int = Field(default=5000, ge=1)
    """Owners that they are learned on, chosen by hash."""
    ease_penalty: float = Field(default=1.0, gt=0)
    """Of EASE, in means of the diagonal of its matrix."""
    ridge_penalty: float = Field(default=0.1, gt=0)
    """Of the ridge from a history to the window after it, likewise."""
    neighbours: int = Field(default=200, ge=1)
    """Of TIFU-kNN."""


class GuideConfig(Section):
    """What to show each owner next: ``remedi guide``."""

    source: str
    """Name of the source under ``features.sources`` whose events are looked at."""
    item: str
    """Its column with the item: a category, a product, a segment."""
    parent: str | None = None
    """Column that an item belongs to, such as its department."""
    value: str | None = None
    """Numeric column with the amount of an event."""
    texts: tuple[str, ...] = ()
    """Columns whose words describe an item, besides its own name; null where unknown."""
    horizon_days: int | None = Field(default=None, ge=1, le=3650)
    """Days after the snapshot in which the event counts; null: ``features.label.horizon_days``."""
    top_n: int = Field(default=10, ge=1)
    """Items in an owner's list."""
    discovery: bool = False
    """Only items that the owner has not had in the last six horizons."""
    exclude: tuple[str, ...] = ()
    """Items that are never shown."""
    stock: Stock | None = None
    """Only items that this table lists are shown; null: all."""
    rates: tuple[Share, Share] = (0.0, 1.0)
    """Only items that such a share of the owners bought in a horizon are shown: mean over the learning snapshots. Cold
    items are shown all the same."""
    active_within_days: int | None = Field(default=None, ge=1)
    """Only owners with an event in the last so many days get a list; null: all."""
    max_items: int = Field(default=1000, ge=2, le=5000)
    """Items that are looked at: those with the most buyers. Matrices of items by items are held in memory."""
    candidates: int = Field(default=40, ge=1)
    """Pairs that are scored of an owner: the best so many of each simple recommender, and what the owner has had."""
    learning_snapshots: int = Field(default=6, ge=1)
    """Snapshots, a horizon apart, that are learned from."""
    test_snapshots: int = Field(default=2, ge=1)
    """Last complete snapshots, which are measured on and calibrated with by a model of the earlier ones."""
    trees: GuideTreesConfig = Field(default_factory=GuideTreesConfig)
    cold: GuideColdConfig = Field(default_factory=GuideColdConfig)
    recommenders: RecommendersConfig = Field(default_factory=RecommendersConfig)

    @model_validator(mode="after")
    def _rates_rise(self) -> Self:
        if self.rates[0] > self.rates[1]:
            raise ValueError(f"rates: found {list(self.rates)}, expected the smaller share first")
        return self
