"""The base of every configuration section."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from remedi_spark.errors import UndeclaredError


class Section(BaseModel):
    """A frozen, strictly keyed part of the configuration: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    def seen_through(self, settings: Collection[str]) -> Self:
        """Return a copy that has the named settings only; any other raises an error when it is asked for.

        Args:
            settings: names or dotted paths; a section stands for all that is in it, ``*`` for everything.
        """
        if "*" in settings:
            return self
        seen = self.model_copy()
        for name in type(self).model_fields:
            inside = [path.removeprefix(f"{name}.") for path in settings if path.startswith(f"{name}.")]
            value = seen.__dict__[name]
            if name in settings:
                continue
            if inside and isinstance(value, Section):
                seen.__dict__[name] = value.seen_through(inside)
            else:
                del seen.__dict__[name]
        return seen

    def __getattr__(self, name: str) -> Any:
        """Say of a setting that :meth:`seen_through` left out that it is not declared; called for missing names only.

        Raises:
            UndeclaredError: the running stage does not declare the setting.
        """
        if name in type(self).model_fields:
            raise UndeclaredError(f"{type(self).__name__}.{name}: not among the settings that the stage declares")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def values_of(self, paths: Collection[str]) -> dict[str, Any]:
        """Return the values of settings as JSON, by dotted path; a section stands for all that is in it."""
        flat = dict(_leaves(self.model_dump(mode="json"), ""))
        return {path: flat[path] for path in flat if any(path == one or path.startswith(f"{one}.") for one in paths)}


def _leaves(tree: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
