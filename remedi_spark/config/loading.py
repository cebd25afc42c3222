"""From YAML files and ``--set key=value`` to a validated :class:`~remedi_spark.config.Config`."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from pydantic import BaseModel, ValidationError

from remedi_spark.errors import InputError, nearest

Tree = dict[str, Any]
T = TypeVar("T", bound=BaseModel)


def read_yaml(path: Path) -> Tree:
    """Read one YAML file that holds a mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"configuration {path}: {error.strerror or error}; give a readable YAML file") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Tree:
    """Parse YAML that holds a mapping; ``where`` names the text in errors."""
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"configuration {where}: not valid YAML: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InputError(f"configuration {where}: found a {type(tree).__name__}, expected a mapping of sections")
    return tree


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Tree:
    """Return ``base`` with ``over`` laid on top, mapping by mapping; lists and scalars are replaced."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def parse_overrides(overrides: Iterable[str]) -> Tree:
    """Turn ``["base_models.folds=3"]`` into ``{"base_models": {"folds": 3}}``; values are YAML."""
    tree: Tree = {}
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise InputError(f"--set {text!r}: expected KEY=VALUE, for example --set base_models.folds=3")
        try:
            leaf: Any = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--set {text!r}: {value!r} is not a YAML value") from error
        for part in reversed(key.strip().split(".")):
            leaf = {part: leaf}
        tree = merge(tree, cast(Tree, leaf))
    return tree


_REPLACED = {
    "base_models.negatives": "base_models.max_rows bounds the rows that are learned from; all positives stay",
    "student.members": "a distilled student is one model; with student.kind: ensemble, base models are shipped as they"
    " are",
}
"""By key that was taken away: what there is in its place."""


def validate(model: type[T], tree: Tree, where: str) -> T:
    """Validate ``tree``; the first problem becomes an :class:`InputError` of one line."""
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise InputError(f"configuration {where}: {_explain(model, error)}") from error


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    problems = error.errors()
    first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        if path in _REPLACED:
            return f"unknown key {path!r}: {_REPLACED[path]}"
        *parents, key = first["loc"]
        known = _known_keys(model, parents)
        listed = f" (known: {', '.join(sorted(known))})" if known else ""
        return f"unknown key {path!r}{nearest(str(key), known)}{listed}"
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "value_error" and isinstance(first["input"], dict):  # a check of keys against one another
        return f"{path}{': ' if path else ''}{said}"
    found = "nothing" if first["type"] == "missing" else repr(first["input"])[:120]
    return f"{path or 'top level'}: found {found}, {said[:1].lower()}{said[1:]}"


def _known_keys(model: type[BaseModel], parents: list[int | str]) -> set[str]:
    """Return the keys allowed under ``parents``, walking through dicts, lists and unions."""
    current: list[Any] = [model]
    for part in parents:
        current = [step for annotation in current for step in _step(annotation, part)]
    return {name for cls in _models(current) for name in cls.model_fields}


def _step(annotation: Any, part: int | str) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        field = annotation.model_fields.get(str(part))
        return _flatten(field.annotation) if field else []
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) in (dict, list, tuple) and arguments:
        return _flatten(arguments[-1] if arguments[-1] is not Ellipsis else arguments[0])
    return []


def _flatten(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        arguments = typing.get_args(annotation)
        parts = arguments[:1] if origin is typing.Annotated else arguments
        return [leaf for part in parts for leaf in _flatten(part)]
    return [annotation]


def _models(annotations: list[Any]) -> list[type[BaseModel]]:
    return [cls for cls in annotations if isinstance(cls, type) and issubclass(cls, BaseModel)]
