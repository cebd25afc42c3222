"""The page about notebooks runs as it stands, and what it leaves is the command line's."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import remedi_spark
from remedi_spark.errors import InputError
from remedi_spark.scoring.scores_schema import NAMES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Run all blocks in order, in an empty folder; return what they have defined."""
    folder = tmp_path_factory.mktemp("notebook")
    shutil.copytree(ROOT / "conf", folder / "conf")
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/python_api.md").read_text("utf-8"), re.M | re.S)
    names: dict[str, Any] = {"spark": spark, "printed": io.StringIO()}

    def train(*arguments: Any, trained: Any = remedi_spark.train, **named: Any) -> Any:
        names["before"] = _state(spark)
        try:
            return trained(*arguments, **named)
        finally:
            names["after"] = _state(spark)

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(remedi_spark, "train", train)
    with contextlib.chdir(folder), contextlib.redirect_stdout(names["printed"]):
        for block in blocks:
            exec(compile(block, "docs/python_api.md", "exec"), names)
        yield names
    monkeypatch.undo()


def _persisted(spark: Any) -> list[str]:
    """Names of what is kept in memory or on disk, but for what Delta keeps of its own logs."""
    kept = spark.sparkContext._jsc.getPersistentRDDs().values()
    return [name for name in (str(one.name()) for one in kept) if "Delta Table State" not in name]


def _state(spark: Any) -> dict[str, Any]:
    """What belongs to whoever has started the session."""
    loggers = {name: one for name, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    return {
        # Delta itself notes its last commit among the settings.
        "settings": {row["key"]: row["value"] for row in spark.sql("SET").collect() if "lastCommit" not in row["key"]},
        "persisted": _persisted(spark),
        "views": [row["tableName"] for row in spark.sql("SHOW TABLES").collect() if row["isTemporary"]],
        "log level": str(spark.sparkContext._jvm.org.apache.logging.log4j.LogManager.getRootLogger().getLevel()),
        "loggers": {name: (one.level, list(one.handlers), list(one.filters)) for name, one in loggers.items()},
        "root logger": (logging.root.level, list(logging.root.handlers)),
        "signal": signal.getsignal(signal.SIGINT),
    }


def test_a_training_leaves_the_session_as_it_was(page: dict[str, Any]) -> None:
    before, after = page["before"], page["after"]
    after["loggers"] = {name: after["loggers"][name] for name in before["loggers"]}
    for name, found in before.items():
        assert after[name] == found, name


def test_the_blocks_say_something_true(page: dict[str, Any]) -> None:
    # 15 positives: an AUC of .75 has a standard error of .07.
    assert page["student"]["auc"] > 0.6, "visits and city were planted"
    assert "AP 0." in page["printed"].getvalue()
    scores = page["scores"].toPandas().set_index("owner_id")
    assert ["owner_id", *scores.columns] == list(NAMES)
    assert scores["in_top_k"].sum() == 60
    np.testing.assert_allclose(scores.loc[page["frame"]["owner_id"], "score"], page["alone"], atol=1e-6)
    assert set(scores["model_version"]) == {page["model"].version}
    tables = page["model"].path.absolute() / "tables"
    assert tables.is_dir(), "beside the model, not where Spark was started"


def test_scores_that_nobody_holds_are_let_go(page: dict[str, Any]) -> None:
    def kept() -> int:
        gc.collect()
        return int(page["spark"].sparkContext._jsc.getPersistentRDDs().size())

    before = kept()
    for _ in range(2):
        assert page["model"].score(page["owners"]).count() == page["owners"].count()
    assert kept() == before


def test_the_report_shows_in_a_notebook(page: dict[str, Any]) -> None:
    shown = page["model"].report()._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert 'sandbox="allow-scripts"' in shown, "scripts of a foreign report see nothing of the notebook"
    assert shown.count("<") == 2, "the page is escaped: nothing of it leaks into the notebook"
    assert "Who to contact" in shown


def test_wrong_data_is_told_in_one_line(page: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table frame: .*did you mean 'bought'"):
        remedi_spark.train(page["owners"], label="bougt", id="owner_id", model=tmp_path / "m", preset="quick")
    with pytest.raises(InputError, match="'visits_28d' is missing"):
        page["model"].score(page["owners"].drop("visits_28d"))
    with pytest.raises(InputError, match="expected a bundle"):
        remedi_spark.Model(tmp_path)
    names = [row["tableName"] for row in page["spark"].sql("SHOW TABLES").collect()]
    assert not [name for name in names if name.startswith("remedi_")]


def test_the_import_is_light() -> None:
    code = (
        "import sys, remedi_spark; print([m for m in ('torch', 'pyspark', 'pandas', 'lightgbm') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
