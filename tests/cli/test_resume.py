"""A run that is killed is finished by the next one, with the same result; a run that is done is not done again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from remedi_spark.scoring.bundle import load
from remedi_spark.storage.tables import Tables
from tests.cli.conftest import WITH_ADDITIVE, Command, Trained, train_arguments
from tests.interpreted import SMALL

KEY = ["owner_id"]


def _table(bundle: Path, name: str, spark: Any) -> pd.DataFrame:
    frame = Tables(spark, str(bundle / "tables")).read(name).toPandas()
    assert not frame.duplicated(KEY).any()
    return frame.sort_values(KEY, ignore_index=True)


def _kill_after(arguments: list[str], words: str, log: Path) -> None:
    """Run the command in a process group of its own, and kill it all as soon as it has printed the words."""
    command = [str(Path(sys.executable).with_name("remedi")), *arguments]
    with log.open("w") as kept:
        run = subprocess.Popen(
            command, stderr=subprocess.PIPE, stdout=kept, text=True, start_new_session=True, env=os.environ.copy()
        )
        watchdog = threading.Timer(240, os.killpg, (run.pid, signal.SIGKILL))
        watchdog.start()
        assert run.stderr is not None
        seen = False
        for line in run.stderr:
            kept.write(line)
            if words in line:
                seen = True
                break
        os.killpg(run.pid, signal.SIGKILL)
        watchdog.cancel()
        run.wait()
        run.stderr.close()
    assert seen, log.read_text()


@pytest.mark.slow
def test_a_killed_run_ends_as_if_it_had_not_been_killed(
    trained: Trained, remedi: Command, spark: Any, tmp_path: Path
) -> None:
    bundle = tmp_path / "model"
    arguments = train_arguments(trained.table, bundle, *WITH_ADDITIVE)
    # Sums depend on how many partitions they are split into: the same number as in this session.
    settings = ["spark.master=local[2]", "spark.shuffle_partitions=2", f"spark.settings={json.dumps(SMALL)}"]
    partitions = [word for setting in settings for word in ("--set", setting)]
    _kill_after([*arguments, *partitions], "final: lightgbm fold", tmp_path / "killed.log")
    assert not (bundle / "manifest.json").exists()
    resumed = remedi(*arguments)
    assert resumed.code == 0, resumed.err
    assert "samples: done before, skipped" in resumed.err
    assert "base-models/holdout/predictions: done before, skipped" in resumed.err
    mine, whole = (load(folder).predict(trained.frame) for folder in (bundle, trained.bundle))
    np.testing.assert_allclose(mine, whole, atol=1e-6)
    mine, whole = (_table(folder, "oof_predictions", spark) for folder in (bundle, trained.bundle))
    assert list(mine["fold"]) == list(whole["fold"])
    models = ["additive", "lightgbm", "xgboost", "mlp"]
    np.testing.assert_allclose(mine[models], whole[models], atol=1e-6)


@pytest.mark.slow
def test_what_is_done_is_skipped_and_what_was_deleted_is_made_again(
    trained: Trained, remedi: Command, tmp_path: Path
) -> None:
    bundle = tmp_path / "model"
    shutil.copytree(trained.bundle, bundle)
    arguments = train_arguments(trained.table, bundle, *WITH_ADDITIVE)
    before = json.loads((bundle / "metrics.json").read_text())
    (bundle / "work" / "base_models" / "lightgbm" / "fold_1.txt").unlink()
    again = remedi(*arguments)
    assert again.code == 0, again.err
    assert "final: 7 of 8 fits done before" in again.err
    assert "final: lightgbm fold 2/2" in again.err
    # The same rows and seed give the same model, so that nothing after it has changed.
    assert "base-models/final/predictions: done before, skipped" in again.err
    assert "report: done before, skipped" in again.err
    assert json.loads((bundle / "metrics.json").read_text()) == before
