"""The package in a notebook: train on a Spark DataFrame, score another, look at the report.

Example:
    >>> model = remedi_spark.train(owners, label="bought", id="owner_id", model="model")    # doctest: +SKIP
    >>> model.score(today).where("in_top_k").show()                                        # doctest: +SKIP
"""

from __future__ import annotations

import html
import shutil
import tempfile
import uuid
import weakref
import webbrowser
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from remedi_spark.errors import InputError
from remedi_spark.reading.paths import is_remote
from remedi_spark.scoring.bundle import Bundle, load_parts
from remedi_spark.storage.home import Home, home_at, open_home, published_at
from remedi_spark.storage.publish import published_folder
from remedi_spark.storage.store import read_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from remedi_spark.config import Config
    from remedi_spark.config.presets import Preset
    from remedi_spark.features.verify import Verdict


def train(
    frame: DataFrame,
    *,
    label: str,
    id: str,
    time: str | None = None,
    weight: str | None = None,
    test: DataFrame | None = None,
    task: Literal["classification", "regression"] | None = None,
    model: str | Path | None = None,
    preset: Preset | None = None,
    config: str | Path | None = None,
    settings: Iterable[str] = (),
) -> Model:
    """Train on a DataFrame: every column but id, time, label and weight is a feature; what ``remedi train`` does.

    Args:
        frame: one row an owner, or an owner and snapshot.
        label: column with 0, 1 or null (unlabelled); in a regression with amounts.
        id: column that identifies the owner.
        time: snapshot column; later snapshots then validate.
        weight: column with row weights of at least 0.
        test: rows of your own to measure on, with the same columns.
        task: what is predicted; None: what the configuration says, a classification by default.
        model: folder or address (``s3a://bucket/model``) of the model bundle; default: a new temporary folder.
        preset: how much work to do: ``quick`` (a first look), ``standard`` (the default) or ``best``.
        config: YAML file, laid over the preset.
        settings: overrides such as ``base_models.folds=3``.

    Returns:
        The trained model; its folder is ``.path``, and ``.address`` where it was given an address.

    Raises:
        InputError: what is wrong with the data or the configuration, in one line.
    """
    from remedi_spark import chain
    from remedi_spark.config import load_config
    from remedi_spark.samples.flat import FlatTable

    # Absolute: the JVM keeps the working directory that it was started in.
    loaded = load_config(config, settings, task=task, preset=preset)
    home = _home(frame.sparkSession, model)
    views = {"frame": _view(frame)} | ({} if test is None else {"test": _view(test)})
    source = FlatTable(views["frame"], label, id, time, weight, views.get("test"))
    try:
        # Whether a frame is the one of an earlier call cannot be told: it is learned from anew.
        chain.train(frame.sparkSession, source, home, loaded, force=True)
    except InputError as error:
        if model is None:
            shutil.rmtree(home.folder, ignore_errors=True)
        message = str(error)
        for name, view in views.items():
            message = message.replace(view, name)
        raise InputError(message) from error.__cause__
    finally:
        for view in views.values():
            frame.sparkSession.catalog.dropTempView(view)
    return Model(home.address)


def _home(spark: SparkSession, model: str | Path | None) -> Home:
    """Return where the bundle goes.

    Raises:
        InputError: on a cluster no folder was named: executors do not see a temporary one of the driver.
    """
    from remedi_spark.storage.places import on_cluster

    if model is not None:
        home = home_at(model, "model")
        return home if home.files is not None else home_at(home.folder.resolve(), "model")
    if on_cluster(spark):
        raise InputError("model: not given, and executors see no temporary folder of the driver; name a shared folder")
    return home_at(Path(tempfile.mkdtemp(prefix="remedi-model-")).resolve(), "model")


def _view(frame: DataFrame) -> str:
    """Give a frame a name that nobody else in the session uses."""
    name = f"remedi_{uuid.uuid4().hex}"
    frame.createTempView(name)
    return name


def verify(config: str | Path, *, sample: int = 200, settings: Iterable[str] = ()) -> list[Verdict]:
    """Compute the features of sampled owners by hand and compare; what ``remedi verify`` does.

    Args:
        config: YAML file with the section ``features`` that the tables were built from.
        sample: owners.
        settings: overrides such as ``root=run/shop``.

    Returns:
        One verdict a column: values ``checked`` and ``differing``, and the first difference.
    """
    from remedi_spark import chain
    from remedi_spark.config import load_config

    return chain.verify(load_config(config, settings), sample)


class Model:
    """A model bundle at work on Spark.

    Args:
        path: folder, or address such as ``s3a://bucket/model``, that :func:`train`, ``remedi train`` or ``remedi run``
            wrote.

    Raises:
        InputError: there is no bundle, or a file of it was changed since training.
    """

    def __init__(self, path: str | Path) -> None:
        home = published_at(path, "model")
        self.address = home.address
        """As it was given."""
        self.path = home.folder
        """The bundle's folder; of an address, a copy that lives as long as this process."""
        with home.named():
            self._parts = load_parts(self.path)

    def __repr__(self) -> str:
        return f"Model({self.address!r}, version {self._parts.model_version})"

    @property
    def version(self) -> str:
        """Hash of all that a score depends on."""
        return self._parts.model_version

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """``metrics.json``: every model's measures on test rows, with intervals."""
        found: dict[str, Any] = read_json(published_folder(self.path) / "metrics.json")
        return found

    @cached_property
    def bundle(self) -> Bundle:
        """The student without Spark: ``model.bundle.predict(pandas_frame)``."""
        return Bundle(self._parts)

    def score(self, frame: DataFrame, *, top_k: int | None = None) -> DataFrame:
        """Return the scores of a DataFrame that has the model's features, in the columns of ``docs/data_contract.md``.

        Args:
            frame: with the id, the features and (where the model has one) the time column; others are ignored.
            top_k: owners to mark; default: the configured budget.

        Raises:
            InputError: a key or a feature is missing, null, duplicated or of another type.
        """
        from remedi_spark.progress import run_id
        from remedi_spark.scoring.batch import open_batch

        batch = open_batch(frame, self._parts, table="frame", lasting=True)
        moment = datetime.now(UTC).replace(microsecond=0)
        try:
            ranked = batch.ranked(self._config().scores, moment, run_id(), top_k)
        except BaseException:
            batch.free()
            raise
        # The frame is lazy: its rows are kept for as long as somebody holds it, and computed again after that.
        weakref.finalize(ranked, batch.free).atexit = False
        return ranked

    def report(self) -> ReportPage:
        """Return the report: shown by a notebook as the last expression of a cell, or ``.open()`` it."""
        path = published_folder(self.path) / "report.html"
        if not path.exists():
            raise InputError(f"model {self.address}: no report.html; train to the end, or run remedi report")
        return ReportPage(path)

    def _config(self) -> Config:
        from remedi_spark.opening import stored_config

        return stored_config(self.path)


def guide(
    config: str | Path,
    *,
    settings: Iterable[str] = (),
    root: str | Path | None = None,
    top_n: int | None = None,
    discovery: bool | None = None,
    exclude: Iterable[str] | None = None,
    force: bool = False,
) -> Guide:
    """List for each owner the items to show next; what ``remedi guide`` does.

    Args:
        config: YAML file with the sections ``features`` and ``guide``.
        settings: overrides such as ``guide.trees.trees=80``.
        root: folder, or ``catalog.schema``, of the tables.
        top_n: items in a list.
        discovery: only items that the owner has not had lately.
        exclude: items that are never shown.
        force: fit again, even if nothing has changed.

    Raises:
        InputError: what is wrong with the data or the configuration, in one line.
    """
    from remedi_spark.config import load_config
    from remedi_spark.guiding import guide as run
    from remedi_spark.guiding import lists

    loaded = load_config(config, settings, root=None if root is None else str(root))
    loaded = loaded.with_guide(top_n=top_n, discovery=discovery, exclude=None if exclude is None else list(exclude))
    measures = run(loaded, force=force)
    report = measures["report"]
    page = open_home(report.rpartition("/")[0], "bundle").folder / "guide.html" if is_remote(report) else Path(report)
    return Guide(lists(loaded), measures, ReportPage(page))


@dataclass(frozen=True)
class Guide:
    """What to show each owner next."""

    lists: DataFrame
    """owner_id, snapshot_date, rank, item, score, why, new_to_owner, model_version, run_id."""
    measures: dict[str, Any]
    """NDCG@10, recall, hit rate, novelty and coverage beside simple recommenders, on later snapshots."""
    report: ReportPage


@dataclass(frozen=True)
class ReportPage:
    """``report.html``, one file without a network."""

    path: Path

    def open(self) -> None:
        """Open it in a browser."""
        webbrowser.open(self.path.resolve().as_uri())

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"), quote=True)
        look = 'style="width:100%;height:48rem;border:0"'
        # Scripts of the page, which nothing seals, see nothing of the notebook that shows it.
        return f'<iframe srcdoc="{page}" title="report" sandbox="allow-scripts" {look}></iframe>'
