"""What the stage that is running may touch: tables and files that it has declared, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from remedi_spark.errors import UndeclaredError


@dataclass(frozen=True)
class Scope:
    """Names of tables and files (with an ending), each perhaps a pattern; what is written may be read as well."""

    stage: str
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()

    def require_read(self, name: str) -> None:
        """Refuse to read what is not declared.

        Raises:
            UndeclaredError: names it, and where to declare it.
        """
        if not self._holds(name, (*self.reads, *self.writes)):
            raise UndeclaredError(f"stage {self.stage} reads {name}, which it does not declare in remedi_spark/flow.py")

    def require_write(self, name: str) -> None:
        """Refuse to write what is not declared; raises as :meth:`require_read`."""
        if not self._holds(name, self.writes):
            raise UndeclaredError(
                f"stage {self.stage} writes {name}, which it does not declare in remedi_spark/flow.py"
            )

    @staticmethod
    def _holds(name: str, declared: Sequence[str]) -> bool:
        return any(fnmatchcase(name, one) for one in declared)
