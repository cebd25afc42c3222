"""The chain on Spark 3.5, on 4, over Connect and on newer Pythons: same bundle and scores (make platforms)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from deltalake import DeltaTable

from tests.object_store import SECRETS, has_server, make_bucket, served
from tests.platforms.chain_job import BUCKET, STORE
from tests.platforms.inputs import write_inputs

ROOT = Path(__file__).parents[2]
SPARK4 = ROOT / ".venv-spark4" / "bin" / "python"
OLD, CLASSIC, CONNECT = "classic-3.5", "classic-4", "connect-4"
NEW = (CLASSIC, CONNECT)
PYTHONS = {f"classic-4-python-{one}": ROOT / f".venv-python{one}" / "bin" / "python" for one in ("3.12", "3.13")}
"""Newer Pythons bring Spark 4.1, and an XGBoost that fits other trees."""
NEWER = tuple(name for name, python in PYTHONS.items() if python.exists())
CHAIN = ("train", "score", "export", "features", "refresh")
EVERY = ("run", "report", "backtest", "adapt", "promote", "doctor")
"""What make platforms-all does in addition: minutes."""
ALL = "REMEDI_EVERY_VERB"
SECONDS = 1800.0

pytestmark = [
    pytest.mark.platforms,
    pytest.mark.slow,
    pytest.mark.skipif(not SPARK4.exists(), reason="no environment with Spark 4: make platforms"),
]


@dataclass(frozen=True)
class Ran:
    """What a platform left in its folder."""

    out: Path

    @property
    def outcome(self) -> dict[str, Any]:
        """Versions, and the seconds of each verb."""
        found: dict[str, Any] = json.loads((self.out / "outcome.json").read_text(encoding="utf-8"))
        return found

    def table(self, name: str) -> pd.DataFrame:
        """Return a Delta table in the order of its keys."""
        frame = DeltaTable(self.out / name).to_pandas()
        return frame.sort_values([key for key in ("owner_id", "snapshot_date") if key in frame], ignore_index=True)

    def bundle(self) -> dict[str, str]:
        """Return the checksums of the published bundle's files, by name."""
        found: dict[str, str] = json.loads((self.out / "model" / "manifest.json").read_text(encoding="utf-8"))["files"]
        return found


@pytest.fixture(scope="module")
def platforms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ran]]:
    """Run the chain on all platforms, one after the other."""
    folder = tmp_path_factory.mktemp("platforms")
    write_inputs(folder / "inputs")
    more = EVERY if ALL in os.environ else ()
    done = {OLD: _run(OLD, folder, (*CHAIN, *more))}
    shutil.copytree(folder / OLD / "model", folder / "inputs" / "foreign")
    with _store() as store:
        for name in NEW:
            done[name] = _run(name, folder, (*CHAIN, "foreign", *_on_s3(store), *more, "learners"), store)
    for name in NEWER:
        done[name] = _run(name, folder, ("doctor", *CHAIN, "foreign", "contract"))
    yield done
    for name, one in done.items():
        print(name, json.dumps(one.outcome))


@contextmanager
def _store() -> Iterator[str | None]:
    """Run an S3 server; yield its address, None where its packages are missing."""
    if not has_server():
        yield None
        return
    with served() as address:
        for name in NEW:
            make_bucket(address, name)
        yield address


def _on_s3(store: str | None) -> tuple[str, ...]:
    """Return the verbs on S3: a training there takes minutes, so make platforms scores by the model of Spark 3.5."""
    if store is None:
        return ()
    return ("bucket_train", "bucket") if ALL in os.environ else ("bucket",)


def _run(platform: str, folder: Path, verbs: tuple[str, ...], store: str | None = None) -> Ran:
    kind = platform.partition("-")[0]
    python = str(PYTHONS.get(platform, sys.executable if platform == OLD else SPARK4))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPARK_", "PYSPARK_"))}
    if store is not None:
        environment |= {**SECRETS, STORE: store, BUCKET: f"s3a://{platform}"}
    command = [python, "-m", "tests.platforms.chain_job", kind, str(folder / "inputs"), str(folder / platform), *verbs]
    log = folder / f"{platform}.log"
    with log.open("wb") as file:
        code = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=file, stderr=file, timeout=SECONDS, check=False
        ).returncode
    assert code == 0, log.read_text(encoding="utf-8", errors="replace")[-5000:]
    return Ran(folder / platform)


def test_each_ran_where_it_should(platforms: dict[str, Ran]) -> None:
    found = {name: (one.outcome["spark"][:2], one.outcome["session"]) for name, one in platforms.items()}
    assert found[OLD] == ("3.", "pyspark.sql.session")
    assert found[CLASSIC] == ("4.", "pyspark.sql.session")
    assert found[CONNECT] == ("4.", "pyspark.sql.connect.session")
    for name in NEWER:
        assert found[name] == found[CLASSIC]
        assert platforms[name].outcome["python"].startswith(name.rpartition("-")[2] + ".")


@pytest.mark.parametrize("name", NEW)
def test_the_same_table_and_seed_give_the_same_bundle(platforms: dict[str, Ran], name: str) -> None:
    assert platforms[name].bundle() == platforms[OLD].bundle()


@pytest.mark.parametrize(
    ("name", "table"), [*product(NEW, ["scores", "foreign_scores"]), *product(NEWER, ["foreign_scores"])]
)
def test_scores_agree(platforms: dict[str, Ran], name: str, table: str) -> None:
    mine, theirs = platforms[name].table(table), platforms[OLD].table("scores")
    np.testing.assert_allclose(mine["score"], theirs["score"], atol=1e-6, rtol=0)
    same = ["owner_id", "rank", "decile", "in_top_k", "model_version"]
    pd.testing.assert_frame_equal(mine[same], theirs[same])


@pytest.mark.parametrize("name", (*NEW, *NEWER))
def test_refreshed_features_agree(platforms: dict[str, Ran], name: str) -> None:
    tables = [one.table("run/owner_features") for one in (platforms[name], platforms[OLD])]
    pd.testing.assert_frame_equal(*tables)
    log = (platforms[name].out.parent / f"{name}.log").read_text(encoding="utf-8")
    assert "refreshed: " in log, "and not computed anew"


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_files_that_are_handed_over_agree(platforms: dict[str, Ran], name: str, kind: str) -> None:
    mine, theirs = (_exported(platforms[one].out / f"export_{kind}", kind) for one in (name, OLD))
    pd.testing.assert_frame_equal(mine, theirs)


@pytest.mark.skipif(not has_server(), reason="no moto in this environment")
@pytest.mark.parametrize("name", NEW)
def test_what_is_handed_over_on_s3_agrees(platforms: dict[str, Ran], name: str) -> None:
    mine = _exported(platforms[name].out / "bucket", "csv")
    pd.testing.assert_frame_equal(mine, _exported(platforms[OLD].out / "export_csv", "csv"))


def _exported(out: Path, kind: str) -> pd.DataFrame:
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    read = pd.read_parquet if kind == "parquet" else pd.read_csv
    frame = pd.concat([read(out / manifest["folder"] / one["name"]) for one in manifest["files"]])
    return frame.sort_values("owner_id", ignore_index=True)[["owner_id", "score", "rank", "in_top_k"]]


@pytest.mark.parametrize("name", (*NEW, *NEWER))
def test_no_scratch_files_are_left(platforms: dict[str, Ran], name: str) -> None:
    assert not list(platforms[name].out.rglob("*remedi_scratch*"))


@pytest.mark.skipif(ALL not in os.environ, reason="make platforms-all")
@pytest.mark.parametrize("name", NEW)
def test_backtests_and_adapted_students_agree(platforms: dict[str, Ran], name: str) -> None:
    trees = [json.loads((platforms[one].out / "run/model/backtest.json").read_bytes()) for one in (name, OLD)]
    assert trees[0] == trees[1]
    mine, theirs = (platforms[one].table("run/scores") for one in (name, OLD))
    np.testing.assert_allclose(mine["score"], theirs["score"], atol=1e-6, rtol=0)
    fitted = [json.loads((platforms[one].out / "fitted/manifest.json").read_bytes())["files"] for one in (name, OLD)]
    assert fitted[0] == fitted[1]
