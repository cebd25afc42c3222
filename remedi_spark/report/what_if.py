"""``what_if.html``: the best owners of a snapshot, and the student that scores them, in one page for a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from remedi_spark.columns import KEY, OWNER, SNAPSHOT
from remedi_spark.errors import InputError
from remedi_spark.progress import log, warn
from remedi_spark.report.page.what_if import WhatIf, render_what_if
from remedi_spark.report.what_if_data import compact, page_data, student_trees
from remedi_spark.scoring.batch import Batch, scored_batch
from remedi_spark.scoring.bundle import Bundle, BundleParts
from remedi_spark.scoring.stage import latest_snapshot, read_owners
from remedi_spark.spark.joins import join_rows
from remedi_spark.spark.ranking import add_rank
from remedi_spark.storage.own_names import own_names
from remedi_spark.storage.store import write_bytes

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

    from remedi_spark.storage.workspace import Workspace

FEATURES = "owner_features"
TOP = 200
"""Owners on the page, unless asked for fewer: no page has more. They alone reach the driver."""


def what_if(
    workspace: Workspace, parts: BundleParts, title: str, *, table: str | None, top: int = TOP, names: bool = False
) -> Path:
    """Write the page beside the model, of a table's owners or, without one, of the last snapshot's.

    Raises:
        InputError: as :func:`write_what_if`; no table is given, and the run has none.
    """
    tables = workspace.tables
    if table is not None:
        frame = read_owners(tables.spark, table, parts)
    elif tables.exists(FEATURES):
        table, frame = tables.location(FEATURES), own_names(tables.read(FEATURES))
        frame = frame.where(F.col(SNAPSHOT) == latest_snapshot(frame, table)[0])
    else:
        raise InputError(
            f"--what-if: no {FEATURES} in {tables.root}; expected owners to show; name them with --table TABLE"
        )
    path = workspace.home / "what_if.html"
    return write_what_if(frame, parts, path, table=table, title=title, top=top, names=names)


def write_what_if(
    frame: DataFrame, parts: BundleParts, path: Path, *, table: str, title: str, top: int = TOP, names: bool = False
) -> Path:
    """Score a frame, and write the page of the best owners of its latest snapshot.

    Args:
        frame: rows in the user's columns.
        parts: of the bundle.
        path: of the page.
        table: name of the frame, for messages.
        title: what is predicted.
        top: owners on the page, at most :data:`TOP`.
        names: whether the page names the owners.

    Raises:
        InputError: the student is no sum of trees or too large for a page; the frame has no row, or is not fit to be
            scored.
    """
    bundle = Bundle(parts)
    models = student_trees(bundle)  # whatever no page can show is refused before any row is scored
    with scored_batch(frame, parts, table=table) as batch:
        rows, snapshot = _best(batch, min(top, TOP))
    if not len(rows):
        raise InputError(f"table {table}: no rows; expected owners for the page")
    called = rows[OWNER].astype(str).tolist() if names else [f"owner {i + 1}" for i in range(len(rows))]
    data = page_data(bundle, models, rows[bundle.contract.columns], called)
    shown = len(data["owners"])
    if shown < len(rows):
        warn("report", f"the page has room for {shown} of {len(rows)} owners; it is to be no larger than 3 MB")
    page = WhatIf(
        title=title, model_version=bundle.model_version, snapshot=snapshot, rows=int(rows["rows"].max()), owners=shown,
        unread=len(bundle.contract.features) - len(data["features"]), data=compact(data),
    )  # fmt: skip
    write_bytes(path, render_what_if(page).encode())
    log("report", f"{shown} owners: {path}")
    return path


def _best(batch: Batch, top: int) -> tuple[pd.DataFrame, str | None]:
    """Return the best rows of the latest snapshot, in order, under inside names, and that snapshot."""
    latest = batch.scores().agg(F.max(SNAPSHOT)).collect()[0][0]
    last = F.col(SNAPSHOT).eqNullSafe(F.lit(latest))
    best = add_rank(batch.scores().where(last), "score").where(F.col("rank") <= top).select(*KEY, "rank", "rows")
    rows = join_rows(batch.canonical, best).toPandas().sort_values("rank").reset_index(drop=True)
    return rows, None if latest is None else str(latest)
