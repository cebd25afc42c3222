"""Names of models become columns and folders: what cannot is refused."""

from __future__ import annotations

import pytest

from remedi_spark.config import load_config
from remedi_spark.config.model_names import check_model_names
from remedi_spark.errors import InputError


@pytest.mark.parametrize(
    "name",
    ["../../x", "a.b", "a/b", "", "1a", "a b", "ä", "a" * 64, "mean", "Fold", "rank_mean", "stack_lr", "fuser",
     "student", "gate_a", "z_lightgbm", "STUDENT", "x\n"],
)  # fmt: skip
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="models: "):
        check_model_names([name], "models")


def test_two_names_that_differ_in_case_only_are_refused() -> None:
    with pytest.raises(ValueError, match="'Trees' and 'trees' differ in case only"):
        check_model_names(["Trees", "other", "trees"], "models")


@pytest.mark.parametrize("section", ["base_models", "student"])
def test_the_configuration_refuses_them(section: str) -> None:
    with pytest.raises(InputError, match="the name 'fuser' means something else"):
        load_config(None, [section + ".models={fuser: {kind: additive}}"])


def test_the_packaged_names_are_fine() -> None:
    config = load_config()
    check_model_names(config.base_models.models, "models")
