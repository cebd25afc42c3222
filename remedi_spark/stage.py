"""A stage of the chain as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import PurePath
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One step of the chain."""

    name: str
    verb: str
    """The command that runs it."""
    does: str
    """A sentence: the help of its verb, the table in the docs, what a first run says."""
    function: str
    """``module:name`` below this package: called with workspace and configuration (and what :meth:`given` adds). By
    name, so that the commands and the docs need none of what stages import."""
    reads: tuple[str, ...] = ()
    """Tables, and files of the bundle (whose names have an ending); both may be patterns. It is done again when one of
    these tables has changed."""
    looks_at: tuple[str, ...] = ()
    """Further tables and files that it reads, whose changes are no reason to do it again."""
    writes: tuple[str, ...] = ()
    """Likewise."""
    settings: tuple[str, ...] = ()
    """What its result depends on in the configuration, as dotted paths."""
    sees: tuple[str, ...] = ()
    """Further settings that it reads: they decide how it works, not what comes out."""
    each_phase: bool = False
    """What it writes is there once for each phase."""
    resumes: bool = False
    """It knows by itself what of its work is done: its parts are units of the ledger, or it has a state of its own."""
    unseals: bool = False
    """What it writes is part of the bundle, which is whole again when the last such stage has ended."""
    timed: bool = True
    """How long it takes is worth knowing."""
    publishes: bool = False
    """After it, readers are given what has been made."""
    about: Any = None
    """What else its result depends on in one run, as JSON."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """What its function is given besides, in one run."""

    def given(self, about: Any, **arguments: Any) -> Stage:
        """Return the stage with arguments of its function for one run, and what of them its result depends on."""
        return replace(self, about=about, arguments=arguments)

    def run(self, workspace: object, config: object) -> None:
        """Call its function."""
        module, name = self.function.split(":")
        getattr(import_module(f"remedi_spark.{module}"), name)(workspace, config, **self.arguments)


def files(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of files: they have an ending."""
    return tuple(name for name in names if PurePath(name).suffix)


def tables(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of tables, as far as they are no patterns."""
    return tuple(name for name in names if not PurePath(name).suffix and not {"*", "{"} & {*name})
