"""The flow is data: every stage can be called, and touches nothing that it does not declare."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest

from remedi_spark.config import Config, load_config
from remedi_spark.errors import UndeclaredError
from remedi_spark.flow import FUSER, REPORT, STAGES, STUDENT, verb_help, verbs
from remedi_spark.running import run_stages, unit_of
from remedi_spark.stage import Stage, tables
from remedi_spark.storage.scope import Scope
from remedi_spark.storage.store import ModelStore
from remedi_spark.storage.tables import Tables
from remedi_spark.storage.workspace import FINAL, Workspace


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_names_a_function_and_settings_that_exist(stage: Stage) -> None:
    module, name = stage.function.split(":")
    assert callable(getattr(import_module(f"remedi_spark.{module}"), name))
    config = load_config()
    for path in (*stage.settings, *stage.sees):
        assert path == "*" or config.values_of([path]), path
    assert stage.does.endswith((".", ").")), "a sentence"


def test_every_table_that_is_read_is_written_by_an_earlier_stage_or_the_stage_itself() -> None:
    known: set[str] = set()
    for stage in STAGES:
        known |= set(tables(stage.writes))
        assert set(tables(stage.reads)) <= known, stage.name


def test_verbs_are_those_of_the_stages_and_say_what_these_do() -> None:
    assert list(verbs()) == ["features", "base-models", "fuser", "student", "scores", "report"]
    assert verb_help("student") == " ".join(one.does for one in STAGES if one.verb == "student")


def test_a_table_that_is_not_declared_is_refused() -> None:
    own = Tables(cast(Any, None), "nowhere", scope=Scope("fuser", ("samples",), ("fused_scores",)))
    with pytest.raises(UndeclaredError, match=r"stage fuser reads encoded, which it does not declare in .*flow\.py"):
        own.read("encoded")
    with pytest.raises(UndeclaredError, match="stage fuser writes samples"):
        own.overwrite(cast(Any, None), "samples")
    with pytest.raises(UndeclaredError, match="stage fuser writes samples"):
        own.append(cast(Any, None), "samples")


def test_a_file_that_is_not_declared_is_refused(tmp_path: Path) -> None:
    store = ModelStore(tmp_path, Scope("fuser", ("phases.json",), ("fuser/fuser.*",)))
    ModelStore(tmp_path).save("phases", {"phases": []})
    assert store.load("phases") == {"phases": []}
    with pytest.raises(UndeclaredError, match=r"stage fuser writes phases\.json"):
        store.save("phases", {})
    with pytest.raises(UndeclaredError, match=r"stage fuser reads encoder\.json"):
        store.load("encoder")


def test_a_setting_that_is_not_declared_is_refused() -> None:
    seen = load_config().seen_through(["base_models.folds", "fuser"])
    assert (seen.base_models.folds, seen.fuser.steps) == (5, 300)
    for asked in ("seen.student", "seen.base_models.models"):
        with pytest.raises(UndeclaredError, match="not among the settings that the stage declares"):
            eval(asked)
    assert load_config().student is not None


def _reads_all(workspace: Workspace, config: Config) -> None:
    assert config.fuser.steps
    workspace.models(FINAL).save("more", {})


def test_a_running_stage_sees_its_scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(cast(Any, Tables(cast(Any, None), str(tmp_path))), tmp_path)
    stage = replace(FUSER, function="flow_test:reads", resumes=True)
    monkeypatch.setattr(Stage, "run", lambda _, *given: _reads_all(*given))
    with pytest.raises(UndeclaredError, match=r"stage fuser writes more\.json"):
        run_stages([stage], STAGES, workspace, load_config())


def test_a_result_depends_on_declared_settings_tables_of_every_phase_and_nothing_else(tmp_path: Path) -> None:
    workspace = Workspace(cast(Any, None), tmp_path)
    ModelStore(tmp_path).save("phases", {"phases": {"holdout": {}, "final": {}}})
    phased = ("encoded", "fused_scores", "student_scores")
    made = unit_of(STUDENT, workspace, load_config(), phased)
    assert made.reads == ("evaluation_encoded", "encoded", "evaluation_fused_scores", "fused_scores")
    assert made.writes == ("evaluation_student_scores", "student_scores")
    assert {"evaluation/calibration.json", "student/*/*.*"} < {*made.files}
    assert made == unit_of(STUDENT, workspace, load_config(None, ["fuser.steps=7", "scores.budget=0.2"]), phased)
    assert made != unit_of(STUDENT, workspace, load_config(None, ["student.label_weight=0.45"]), phased)
    other = unit_of(REPORT.given(["a"]), workspace, load_config(), phased)
    assert other != unit_of(REPORT.given(["b"]), workspace, load_config(), phased)
