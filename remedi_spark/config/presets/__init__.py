"""Presets: how much work a training does, as one word. Each is a packaged YAML file that a configuration lies over."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any, Literal, get_args

from remedi_spark.config.loading import Tree, merge, parse_yaml
from remedi_spark.errors import InputError, nearest

Preset = Literal["quick", "standard", "best"]
PRESETS: tuple[str, ...] = get_args(Preset)
_LAYERS = {"quick": ("quick",), "standard": ("standard",), "best": ("standard", "best")}


def preset(name: str, task: str = "classification") -> Tree:
    """Return the configuration of a preset for a kind of label.

    Raises:
        InputError: there is no preset of this name.
    """
    if name not in _LAYERS:
        known = ", ".join(PRESETS)
        raise InputError(f"preset: found {name!r}, expected one of {known}{nearest(name, PRESETS)}")
    suffixes = ("", ".regression") if task == "regression" else ("",)
    tree: Tree = {"preset": name}
    for suffix in suffixes:
        for layer in _LAYERS[name]:
            tree = merge(tree, _packaged(f"{layer}{suffix}.yaml"))
    return tree


def choose_members(tree: Tree) -> Tree:
    """Return the configuration with the members that take part.

    A member that is null, or switched off without being defined, is left out; with ``base_models.only``, so is each one
    that it does not name.

    Raises:
        InputError: ``base_models.only`` names a member that does not exist, or a setting is of such a member.
    """
    chosen = dict(tree)
    for part in ("base_models", "student"):
        if models := _models(tree, part):
            kept = {name: model for name, model in models.items() if not _absent(model)}
            for name, model in kept.items():
                _require_kind(model, f"{part}.models.{name}", tree.get("preset"))
            chosen[part] = {**tree[part], "models": kept}
    return _only(chosen)


def _only(tree: Tree) -> Tree:
    models, only = _models(tree, "base_models"), tree.get("base_models", {}).get("only")
    if not isinstance(only, list):
        return tree
    for name in only:
        if name not in models:
            hint = nearest(str(name), models)
            raise InputError(f"base_models.only: no member {name!r}{hint} (there are: {', '.join(models)})")
    kept = {name: model for name, model in models.items() if name in only}
    return {**tree, "base_models": {**tree["base_models"], "models": kept}}


def _models(tree: Tree, part: str) -> dict[str, Any]:
    section = tree.get(part)
    models = section.get("models") if isinstance(section, Mapping) else None
    return dict(models) if isinstance(models, Mapping) else {}


def _absent(model: Any) -> bool:
    return model is None or (isinstance(model, Mapping) and "kind" not in model and model.get("enabled") is False)


def _require_kind(model: Any, where: str, name: Any) -> None:
    if isinstance(model, Mapping) and "kind" not in model:
        raise InputError(
            f"configuration: {where}: found {', '.join(map(str, model)) or 'nothing'}, but preset {name!r} has no such"
            " member; give its kind, or take a preset that has it"
        )


def _packaged(name: str) -> Tree:
    return parse_yaml(resources.files("remedi_spark.config.presets").joinpath(name).read_text(encoding="utf-8"), name)
