"""What one check of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What one check found, and the setting that fixes it."""

    state: State
    what: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        line = f"{self.state:<5}{self.what:<22}{self.found}"
        return f"{line}; {self.fix}" if self.fix else line
