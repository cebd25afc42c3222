"""Names that are anything: inside they are cleaned or marked, outside they are the user's."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from remedi_spark.config.features import FeaturesConfig
from remedi_spark.config.sources import Attributes, Location
from remedi_spark.features.attributes import attribute_names
from remedi_spark.features.expressions import slug, word
from remedi_spark.features.levels import _filled
from remedi_spark.features.phrases import aggregated, described, plain
from remedi_spark.storage.own_names import stored_names


def test_levels_keep_the_letters_of_any_script() -> None:
    assert [slug(level) for level in ("FROZEN PIZZA", "Köln", "汽车", "Сервис", "🚗", "A+", "")] == [
        "frozen_pizza", "koln", "汽车", "сервис", "blank", "a", "blank",
    ]  # fmt: skip


def test_unlike_declared_names_stay_unlike_in_names_of_tables() -> None:
    names = ["web", "Web", "web site", "web.site", "汽车", "飞机", "🚗"]
    words = [word(name) for name in names]
    assert words[0] == "web"
    assert len({one.casefold() for one in words}) == len(names)
    assert all(one.isascii() and one.isidentifier() for one in words)


def test_only_what_delta_refuses_is_stored_under_another_name() -> None:
    names = ["a.b", "汽车", "Household size", "Household_size", "Income (EUR)", "()", "x"]
    stored = stored_names(names)
    assert [stored[name] for name in ("a.b", "汽车", "Household_size", "x")] == ["a.b", "汽车", "Household_size", "x"]
    assert stored["Income (EUR)"] == "Income_EUR"
    assert stored["Household size"].startswith("Household_size_")
    assert len({name.casefold() for name in stored.values()}) == len(names)


def test_an_attribute_whose_name_is_taken_is_called_by_its_table_too() -> None:
    def table(*columns: str) -> Attributes:
        return Attributes(path="x", columns=list(columns))

    found = attribute_names({"crm": table("Income", "age", "Label"), "bank": table("income")}, ["label", "visits"])
    assert found == {
        "crm": {"Income": "crm.Income", "age": "age", "Label": "crm.Label"},
        "bank": {"income": "bank.income"},
    }


def test_a_category_that_looks_like_a_placeholder_is_filled_in_once() -> None:
    filled = _filled("a = {category} AND b = {parent}", {"category": "'{parent}'", "parent": "'x'"})
    assert filled == "a = '{parent}' AND b = 'x'"


def test_a_name_that_looks_like_a_value_is_said_as_it_is() -> None:
    assert plain("{value}").sentence("3") == "{value} is 3"
    assert plain("{value}").sentence(None) == "{value} is not known"
    assert plain("{{value}}").sentence("3") == "{{value}} is 3"
    assert described("a {value}", None, "x", "{value}").sentence(None) == "a {value}: not known ({value})"
    phrase = aggregated("count", ("visit to {value}", "visits to {parent} {value}"), None, (28,))
    assert phrase.sentence("2") == "2 visits to {parent} {value} in the last 28 days"
    assert phrase.sentence("1") == "1 visit to {value} in the last 28 days"


TREE: dict[str, Any] = {
    "entity": "id",
    "sources": {"Käufe (neu)": {"path": "x.parquet", "event_time": "at"}},
    "groups": {"汽车": {"source": "Käufe (neu)", "measures": {"Summe €": {"aggregate": "count"}}}},
    "label": {"source": "Käufe (neu)", "filter": "true"},
}


def test_declared_names_may_be_anything_in_one_line() -> None:
    assert list(FeaturesConfig.model_validate(TREE).groups) == ["汽车"]
    for name in ("", " a", "a\nb", "a" * 65):
        with pytest.raises(ValidationError):
            FeaturesConfig.model_validate({**TREE, "groups": {name: TREE["groups"]["汽车"]}})


def test_a_package_is_not_left_and_a_zone_exists() -> None:
    with pytest.raises(ValidationError, match="leaves the package"):
        Location(package="shop/../../secret.parquet")
    with pytest.raises(ValidationError, match=r"no time zone 'Europe/Berln'.*Europe/Berlin"):
        Attributes(path="x", columns=["a"], time_zone="Europe/Berln")
