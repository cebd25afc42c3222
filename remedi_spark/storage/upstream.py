"""With which settings each stage was made, so that a stage refuses to go on from what other settings made.

``made_with.json`` in the working folder. A run does all stages in order and always agrees with itself; the verbs of
single stages may be given something else than the verb before them was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from remedi_spark.errors import InputError
from remedi_spark.storage.workspace import FINAL, Workspace

if TYPE_CHECKING:
    from remedi_spark.config import Config

MADE_WITH = "made_with"
Order = Mapping[str, Collection[str]]
"""By verb, in order: the settings that what it makes depends on, beside those of the verbs before."""


@contextmanager
def making(workspace: Workspace, config: Config, stage: str, order: Order) -> Iterator[None]:
    """Note the settings of a stage while and after it is made; what was made from it with others counts no more."""
    known, now = _known(workspace, order), config.values_of(order[stage])
    before = known.get(stage, {})
    if before.get("settings") != now or not before.get("finished"):
        before_it = list(order)[: list(order).index(stage)]
        known = {name: known[name] for name in before_it if name in known}
        workspace.models(FINAL).save(MADE_WITH, {**known, stage: {"settings": now, "finished": False}})
        workspace.send()
    yield
    workspace.models(FINAL).save(MADE_WITH, {**known, stage: {"settings": now, "finished": True}})


def require_upstream(workspace: Workspace, config: Config, stage: str, order: Order) -> None:
    """Refuse what an earlier stage has made with other settings, or not made to the end.

    Raises:
        InputError: names the setting, both values, and the stage to run again.
    """
    known = _known(workspace, order)
    if not known:  # nothing yet, or of a version that noted nothing: the stage itself says what it lacks
        return
    for earlier in order:
        if earlier == stage:
            return
        made = known.get(earlier)
        if made is None or not made["finished"]:
            raise InputError(
                f"stage {stage}: what stage {earlier} made in {workspace.bundle} is not finished; run remedi {earlier}"
                " first"
            )
        now = config.values_of(order[earlier])
        other = next((name for name, value in made["settings"].items() if name in now and now[name] != value), None)
        if other is not None:
            raise InputError(
                f"{other}: found {now[other]!r}, but stage {earlier} was made with {made['settings'][other]!r}; give"
                f" stage {stage} the same settings, or run remedi {earlier} with these first"
            )


def _known(workspace: Workspace, order: Order) -> dict[str, Any]:
    store = workspace.models(FINAL)
    stored: dict[str, Any] = store.load(MADE_WITH) if store.has(MADE_WITH) else {}
    return {name: facts for name, facts in stored.items() if name in order}
