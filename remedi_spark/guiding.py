"""The guide from end to end: the model where something changed, then the lists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from remedi_spark.columns import SNAPSHOT
from remedi_spark.config import Config
from remedi_spark.errors import InputError
from remedi_spark.features.changes import fingerprint
from remedi_spark.flow import GUIDE_LISTS, GUIDE_MODEL
from remedi_spark.guides.guide_schema import CONTRACT
from remedi_spark.opening import holding, open_workspace
from remedi_spark.running import run_stages
from remedi_spark.storage.home import open_home
from remedi_spark.storage.workspace import FINAL

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.storage.workspace import Workspace


def guide(config: Config, *, force: bool = False) -> dict[str, Any]:
    """Write the table ``guide`` and ``guide.html``; return where they are, and the measures.

    The model is fitted again only when the sources or its settings have changed, unless ``force``.

    Raises:
        InputError: a section is missing, or the events do not suffice.
    """
    if config.features is None or config.guide is None:
        missing = "features" if config.features is None else "guide"
        raise InputError(f"configuration: no section {missing!r}; remedi guide is set up by it")
    workspace = _open(config, force=force)
    model = GUIDE_MODEL.given(_sources(workspace.tables.spark, config))
    stock = config.guide.stock
    stocked = None if stock is None else fingerprint(workspace.tables.spark, stock, "guide.stock")
    lists = GUIDE_LISTS.given([stocked, _fitted(workspace), CONTRACT.version])
    with holding(workspace, config):
        run_stages((model,), (model, lists), workspace, config)
        lists = lists.given([stocked, _fitted(workspace), CONTRACT.version])
        run_stages((lists,), (model, lists), workspace, config)
    facts = workspace.models(FINAL).load("guide_facts")
    return {
        "guide": workspace.tables.location("guide"),
        "report": workspace.at("guide.html"),
        **facts["measures"],
    }


def lists(config: Config) -> DataFrame:
    """Return the lists of the last day and model, as they were written."""
    workspace = _open(config)
    latest = workspace.tables.read("guide").where(F.col("model_version") == F.lit(_fitted(workspace)))
    last = latest.agg(F.max(SNAPSHOT)).collect()[0][0]
    return latest.where(F.col(SNAPSHOT) == F.lit(last))


def _open(config: Config, *, force: bool = False) -> Workspace:
    """Open the workspace: beside the ensemble's bundle, not in it, as neither is part of the other."""
    opened = open_workspace(config, force=force)
    assert opened.place is not None
    home = open_home(f"{opened.place.address}_guide", "bundle")
    return replace(opened, bundle=home.folder, published=None, place=home, _ledger=[])


def _sources(spark: SparkSession, config: Config) -> list[Any]:
    """Return what tells the contents of the sources, their dimensions and the attributes from any other."""
    assert config.features is not None and config.guide is not None
    source = config.features.sources.get(config.guide.source)
    tables = [] if source is None else [source, *source.joins.values()]
    return [fingerprint(spark, one, "features") for one in (*tables, *config.features.attributes.values())]


def _fitted(workspace: Workspace) -> str | None:
    from remedi_spark.guides.stage import version_of

    store = workspace.models(FINAL)
    return version_of(store) if store.has("guide_facts") and store.has("guide_model") else None
