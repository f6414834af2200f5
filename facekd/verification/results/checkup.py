"""The result of `facekd doctor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from facekd.errors import Exit


class Status(StrEnum):
    """The status of a check: no problem; worth knowing; a command will fail because of it."""

    OK = "ok"
    NOTE = "note"
    FAULT = "fault"


@dataclass(frozen=True)
class Check:
    """One check: what was found, how to fix it (``fix``), the exit code of commands that fail because
    of it, and the numbers and names in ``message`` for programs (``values``)."""

    section: str
    name: str
    status: Status
    message: str
    fix: str | None = None
    exit_code: Exit = Exit.DONE
    values: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "section": self.section,
            "name": self.name,
            "status": str(self.status),
            "message": self.message,
            "fix": self.fix,
            "exit_code": int(self.exit_code),
            "values": dict(self.values),
        }


@dataclass(frozen=True)
class Checkup:
    """All checks, in order."""

    checks: tuple[Check, ...]

    def count(self, status: Status) -> int:
        return sum(check.status is status for check in self.checks)

    @property
    def exit_code(self) -> Exit:
        """The exit code of the most serious fault; `DONE` without one."""
        return max((check.exit_code for check in self.checks), default=Exit.DONE)

    def to_dict(self) -> dict[str, Any]:
        return {
            "faults": self.count(Status.FAULT),
            "notes": self.count(Status.NOTE),
            "exit_code": int(self.exit_code),
            "checks": [check.to_dict() for check in self.checks],
        }
