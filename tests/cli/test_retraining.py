"""While a bundle is trained again, and after a training that failed, the last good model scores as before."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import remedi_spark
from remedi_spark import chain
from remedi_spark.config import load_config
from remedi_spark.report import stage as report
from remedi_spark.samples.flat import FlatTable
from remedi_spark.scoring.bundle import load_parts
from remedi_spark.storage.lease import LEASE
from tests.cli.conftest import FASTEST, Command, Trained, train_arguments

SECRET = "spark.settings={spark.hadoop.fs.s3a.secret.key: TOPSECRET}"


def test_the_last_good_model_scores_until_the_new_one_is_whole(
    trained: Trained, remedi: Command, spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "model"
    shutil.copytree(trained.bundle, bundle)
    before, few = load_parts(bundle), trained.frame.head(20)
    expected = remedi_spark.load(bundle).predict(few)
    source = FlatTable(str(trained.table), "bought", "owner")
    other = load_config(None, [*FASTEST, "seed=1", SECRET])
    ended: list[BaseException | None] = []

    def retrain() -> None:
        try:
            chain.train(spark, source, bundle, other)
            ended.append(None)
        except BaseException as error:
            ended.append(error)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no room left")

    looked = 0
    with monkeypatch.context() as broken:
        broken.setattr(report, "run", fail)
        training = threading.Thread(target=retrain)
        training.start()
        while training.is_alive():
            np.testing.assert_array_equal(remedi_spark.load(bundle).predict(few), expected)
            looked += 1
            if looked == 5:
                second = remedi(*train_arguments(trained.table, bundle))
                assert second.code == 2
                for words in ("in use by run", "with other settings", "wait until it has ended"):
                    assert words in second.message
            training.join(0.2)
    assert looked > 5
    assert "no room left" in str(ended[0])
    assert load_parts(bundle) == before
    assert not (bundle / LEASE).exists()
    scored = remedi("score", "--table", trained.table, "--model", bundle, "--out", tmp_path / "scores")
    assert scored.code == 0, scored.err
    refused = remedi("report", "--model", bundle, "--ablations")
    assert (refused.code, "a later training of it has not ended" in refused.message) == (2, True)

    chain.train(spark, source, bundle, other)  # goes on where it failed
    after = load_parts(bundle)
    assert after.model_version != before.model_version
    assert load_parts(bundle / "versions" / before.model_version) == before, "one can go back"
    shown = [path for path in bundle.rglob("*") if path.is_file() and b"TOPSECRET" in path.read_bytes()]
    assert not shown
    assert remedi_spark.Model(bundle).report()._repr_html_()
    again = remedi("report", "--model", bundle)
    assert again.code == 0, again.err
    assert load_parts(bundle) == after
