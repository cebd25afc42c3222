"""A stage refuses what an earlier one made with other settings, or has not made to the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from remedi_spark.config import Config, load_config
from remedi_spark.errors import InputError
from remedi_spark.flow import STAGES
from remedi_spark.running import verb_settings
from remedi_spark.storage.upstream import making, require_upstream
from remedi_spark.storage.workspace import Workspace

ORDER = verb_settings(STAGES)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.of(cast(Any, None), tmp_path)


def make(workspace: Workspace, config: Config, *stages: str) -> None:
    """Make stages."""
    for stage in stages:
        require_upstream(workspace, config, stage, ORDER)
        with making(workspace, config, stage, ORDER):
            pass


def test_other_settings_upstream_are_refused_by_name(workspace: Workspace) -> None:
    make(workspace, load_config(None, ["base_models.folds=5"]), "base-models", "fuser", "student")
    four = load_config(None, ["base_models.folds=4"])
    for stage in ("fuser", "student", "report"):
        with pytest.raises(InputError) as refused:
            require_upstream(workspace, four, stage, ORDER)
        for words in ("base_models.folds: found 4", "was made with 5", "run remedi base-models"):
            assert words in str(refused.value)
    require_upstream(workspace, four, "base-models", ORDER)
    with pytest.raises(InputError, match=r"fuser\.steps: found 7, .* run remedi fuser"):
        require_upstream(workspace, load_config(None, ["fuser.steps=7"]), "student", ORDER)


@pytest.mark.parametrize("setting", ["evaluation.bootstrap=7", "base_models.workers=1", "scores.budget=0.2"])
def test_what_changes_nothing_upstream_may_differ(workspace: Workspace, setting: str) -> None:
    make(workspace, load_config(), "base-models", "fuser", "student")
    require_upstream(workspace, load_config(None, [setting]), "report", ORDER)


def test_what_follows_is_made_again_after_other_settings(workspace: Workspace) -> None:
    make(workspace, load_config(), "base-models", "fuser", "student")
    make(workspace, load_config(), "base-models")
    require_upstream(workspace, load_config(), "report", ORDER)
    four = load_config(None, ["base_models.folds=4"])
    make(workspace, four, "base-models")
    with pytest.raises(InputError, match=r"what stage fuser made .* is not finished; run remedi fuser first"):
        require_upstream(workspace, four, "student", ORDER)


def test_a_stage_that_was_killed_is_not_made(workspace: Workspace) -> None:
    make(workspace, load_config(), "base-models", "fuser")
    with (
        pytest.raises(RuntimeError),
        making(workspace, load_config(None, ["fuser.steps=7"]), "fuser", ORDER),
    ):
        raise RuntimeError
    with pytest.raises(InputError, match="run remedi fuser first"):
        require_upstream(workspace, load_config(), "student", ORDER)


def test_a_folder_of_a_version_that_noted_nothing_is_taken_as_it_is(workspace: Workspace) -> None:
    require_upstream(workspace, load_config(), "report", ORDER)
