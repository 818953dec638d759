"""What a check of an installation finds: what it looked at, how it stands, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a thing stands, the worst last."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing of a part of the installation, with figures; never a secret.

    ``mend`` is the command or the deed that makes it well again, empty where all is well.
    """

    part: str
    what: str
    state: State
    told: str
    mend: str = ""
