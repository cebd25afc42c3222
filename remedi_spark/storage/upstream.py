"""With which settings each stage was made, so that a stage refuses to go on from what other settings made.

``made_with.json`` in the working folder. A run does all stages in order and always agrees with itself; the verbs of
single stages may be given something else than the verb before them was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from remedi_spark.errors import InputError
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from remedi_spark.config import Config

MADE_WITH = "made_with"
SECTIONS: dict[str, set[str]] = {
    "base-models": {"seed", "task", "evaluation", "encoding", "base_models"},
    "fuser": {"meta_features", "fuser"},
    "student": {"student"},
}
"""By stage, in order: the settings that what it writes depends on, beside those of the stages before."""
_NO_MATTER = {"evaluation.bootstrap", "base_models.workers", "base_models.parallel", "base_models.on_failure"}


@contextmanager
def making(workspace: Workspace, config: Config, stage: str) -> Iterator[None]:
    """Note the settings of a stage while and after it is made; what was made from it with others counts no more."""
    known, now = _known(workspace), _settings(config, stage)
    before = known.get(stage, {})
    if before.get("settings") != now or not before.get("finished"):
        order = list(SECTIONS)
        known = {name: facts for name, facts in known.items() if order.index(name) < order.index(stage)}
        workspace.models(FINAL).save(MADE_WITH, {**known, stage: {"settings": now, "finished": False}})
    yield
    workspace.models(FINAL).save(MADE_WITH, {**known, stage: {"settings": now, "finished": True}})


def require_upstream(workspace: Workspace, config: Config, stage: str) -> None:
    """Refuse what an earlier stage has made with other settings, or not made to the end.

    Raises:
        InputError: names the setting, both values, and the stage to run again.
    """
    known = _known(workspace)
    if not known:  # nothing yet, or of a version that noted nothing: the stage itself says what it lacks
        return
    for earlier in SECTIONS:
        if earlier == stage:
            return
        made = known.get(earlier)
        if made is None or not made["finished"]:
            raise InputError(
                f"stage {stage}: what stage {earlier} made in {workspace.bundle} is not finished; run remedi {earlier}"
                " first"
            )
        now = _settings(config, earlier)
        other = next((name for name, value in made["settings"].items() if name in now and now[name] != value), None)
        if other is not None:
            raise InputError(
                f"{other}: found {now[other]!r}, but stage {earlier} was made with {made['settings'][other]!r}; give"
                f" stage {stage} the same settings, or run remedi {earlier} with these first"
            )


def _known(workspace: Workspace) -> dict[str, Any]:
    if not (workspace.bundle / f"{MADE_WITH}.json").exists():
        return {}
    stored: dict[str, Any] = workspace.models(FINAL).load(MADE_WITH)
    return {name: facts for name, facts in stored.items() if name in SECTIONS}


def _settings(config: Config, stage: str) -> dict[str, Any]:
    flat = dict(_leaves(config.model_dump(mode="json", include=SECTIONS[stage])))
    return {name: value for name, value in flat.items() if name not in _NO_MATTER}


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
