"""The doctor finds what is wrong and names the setting; a preflight stops a run before it writes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from remedi_spark.config import load_config
from remedi_spark.doctor import examine, preflight
from remedi_spark.errors import InputError
from tests.cli.conftest import Command, Trained, world


def by_name(findings: list[Any]) -> dict[str, Any]:
    return {finding.what: finding for finding in findings}


def answer(spark: Any, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    """Have the session answer with these settings, which Spark itself does not change once it runs."""
    former = type(spark.conf).get

    def get(conf: Any, name: str, *default: str) -> Any:
        return settings[name] if name in settings else former(conf, name, *default)

    monkeypatch.setattr(type(spark.conf), "get", get)


def test_this_session_is_healthy(remedi: Command, tmp_path: Path) -> None:
    done = remedi("doctor", "--root", str(tmp_path))
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert all(line.startswith(("ok", "warn")) for line in lines)
    assert {"Java", "Spark", "Scala", "Delta", "SynapseML", "slots", "root"} <= {line.split()[1] for line in lines}


def test_data_findings_name_the_option(spark: Any, tmp_path: Path) -> None:
    frame = world(400, 12)
    frame["plate"] = [f"p{i}" for i in range(400)]
    frame.to_parquet(tmp_path / "owners.parquet", coerce_timestamps="us")
    found = by_name(
        examine(spark, load_config(None, []), table=str(tmp_path / "owners.parquet"), label="bought", id_="owner")
    )
    assert found["positive owners"].state == "fail"
    assert found["positive owners"].found == "12 for 5 folds"
    assert found["positive owners"].fix.startswith("--set base_models.folds=")
    assert "plate" in found["levels"].found
    assert found["rows"].found == "400"


def test_a_root_that_is_a_file_stops_the_run(spark: Any, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError, match=r"root: .*cannot be written \(not a folder\)"):
        preflight(spark, load_config(None, []), str(tmp_path / "notes"))
    assert (tmp_path / "notes").read_text() == "mine"


def test_speculation_and_too_many_workers_are_failures(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(spark, monkeypatch, {"spark.speculation": "true", "spark.dynamicAllocation.enabled": "true"})
    found = by_name(examine(spark, load_config(None, ["base_models.workers=64"])))
    assert found["speculation"].state == "fail"
    assert found["slots"].state == "fail"
    assert "64" in found["slots"].found
    assert found["dynamic allocation"].state == "fail"
    assert found["dynamic allocation"].fix == "--conf spark.dynamicAllocation.enabled=false"
    alone = by_name(examine(spark, load_config()))
    assert alone["dynamic allocation"].state == "warn", "a fit in one task needs no barrier"


def test_a_cluster_must_end_tasks_that_do_not_end_themselves(spark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"spark.master": "spark://host:7077"}
    answer(spark, monkeypatch, settings)
    assert "spark.task.reaper.killTimeout" in by_name(examine(spark, load_config()))["task reaper"].fix
    settings |= {"spark.task.reaper.enabled": "true", "spark.task.reaper.killTimeout": "60s"}
    assert "task reaper" not in by_name(examine(spark, load_config()))


@pytest.fixture(scope="module")
def odd_table(tmp_path_factory: pytest.TempPathFactory) -> str:
    n = 600
    frame = pd.DataFrame({
        "owner id": [f"o{i}" for i in range(n)], "last `seen`": ["web", "shop"] * (n // 2),
        "visits": [float(i % 9) for i in range(n)], "bought": [i % 10 == 0 for i in range(n)],
        "day": [dt.date(2026, 1, 1)] * n, "invoice": [float(i) if i % 10 == 0 else None for i in range(n)],
    })  # fmt: skip
    path = str(tmp_path_factory.mktemp("doctor") / "owners.parquet")
    frame.to_parquet(path)
    return path


def test_a_boolean_label_and_odd_names_are_examined(spark: Any, odd_table: str) -> None:
    found = by_name(examine(spark, load_config(), table=odd_table, label="bought", id_="owner id"))
    assert found["positive owners"].found == "60 for 5 folds"
    assert "'invoice' is missing by itself tells the label" in found["feature"].found


@pytest.mark.parametrize(
    ("label", "id_", "said"),
    [
        ("bougth", "owner id", "no column 'bougth' (--label); did you mean 'bought'?"),
        ("bought", "owner_id", "no column 'owner_id' (--id); did you mean 'owner id'?"),
        ("day", "owner id", "column 'day' (--label) is of type date"),
        ("visits", "owner id", "column 'visits' (--label) holds values other than 0 and 1"),
    ],
)
def test_the_doctor_refuses_a_role_that_cannot_be_filled(
    remedi: Command, odd_table: str, tmp_path: Path, label: str, id_: str, said: str
) -> None:
    done = remedi("doctor", "--table", odd_table, "--label", label, "--id", id_, "--root", str(tmp_path))
    assert done.code == 2
    assert said in done.err.splitlines()[-1]
    assert done.err.splitlines()[-1].startswith("remedi: error: doctor: ")


def test_a_model_that_has_scored_nothing_is_said_so(trained: Trained, remedi: Command, tmp_path: Path) -> None:
    done = remedi("doctor", "--root", str(tmp_path), "--model", trained.bundle)
    assert done.code == 0, done.err
    line = next(line for line in done.out.splitlines() if line.split()[1] == "model")
    assert line.startswith("warn")
    assert "has scored nothing" in line
    assert remedi("doctor", "--root", str(tmp_path), "--model", tmp_path / "none").code == 2
