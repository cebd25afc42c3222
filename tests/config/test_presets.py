"""Presets: what each holds, how a configuration lies over them, and which members take part."""

from __future__ import annotations

from pathlib import Path

import pytest

from remedi_spark.config import Config, load_config
from remedi_spark.config.loading import validate
from remedi_spark.config.presets import PRESETS
from remedi_spark.errors import InputError

TASKS = ("classification", "regression")


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("task", TASKS)
def test_every_preset_is_a_whole_configuration_without_members_that_are_off(name: str, task: str) -> None:
    config = load_config(preset=name, task=task)
    assert config.preset == name
    assert all(model.enabled for model in config.base_models.models.values())
    assert config.student.enabled == config.student.models
    assert "lightgbm" in config.base_models.models


def test_more_work_has_more_members() -> None:
    quick, standard, best = (set(load_config(preset=name).base_models.models) for name in PRESETS)
    assert quick < standard < best


def test_a_file_names_its_preset_and_the_command_line_wins(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("preset: quick\nbase_models: {folds: 4}\n")
    assert load_config(path).base_models.folds == 4
    assert set(load_config(path).base_models.models) == {"additive", "lightgbm"}
    best = load_config(path, preset="best")
    assert (best.preset, best.base_models.folds) == ("best", 4)
    assert "tabm" in best.base_models.models


def test_only_the_named_members_take_part_in_the_presets_order() -> None:
    config = load_config(overrides=["base_models.only=[mlp, xgboost, additive]", "base_models.models.mlp={kind: mlp}"])
    assert list(config.base_models.models) == ["additive", "xgboost", "mlp"]


def test_null_leaves_a_member_out_and_so_does_switching_off_one_that_is_not_there() -> None:
    config = load_config(overrides=["base_models.models.deepfm=null", "base_models.models.tabm.enabled=false"])
    assert not {"deepfm", "tabm"} & set(config.base_models.models)


def test_a_stored_configuration_is_read_back_as_it_was() -> None:
    config = load_config(overrides=["base_models.only=[xgboost, additive]"], preset="best")
    assert validate(Config, config.model_dump(mode="json"), "report.json") == config


@pytest.mark.parametrize(
    ("overrides", "preset", "said"),
    [
        ([], "fast", "preset: found 'fast', expected one of quick, standard, best"),
        (["base_models.only=[lightgmb]"], None, "no member 'lightgmb'; did you mean 'lightgbm'?"),
        (["base_models.models.tabm.width=64"], None, "base_models.models.tabm: found width, but preset 'standard'"),
        (["base_models.models.tabm.enabled=true"], "quick", "give its kind, or take a preset that has it"),
    ],
)
def test_what_is_refused_says_what_to_do(overrides: list[str], preset: str | None, said: str) -> None:
    with pytest.raises(InputError) as refusal:
        load_config(overrides=overrides, preset=preset)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
