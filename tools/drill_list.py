"""The list of drills, and what one found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drill_site import Site


@dataclass(frozen=True)
class Outcome:
    """The result of a drill; ``ok`` is `None` if it could not run here, and ``found`` says why."""

    found: str
    ok: bool | None


class CannotHold(Exception):
    """A drill needs something that this machine does not have."""


def fact(ok: bool, found: str) -> Outcome:
    return Outcome(found, ok)


def together(*outcomes: Outcome) -> Outcome:
    """Combine several outcomes; failures are named first."""
    failed = [one.found for one in outcomes if not one.ok]
    if failed:
        return Outcome("; ".join(f"NOT: {one}" for one in failed), False)
    return Outcome("; ".join(dict.fromkeys(one.found for one in outcomes)), True)


@dataclass(frozen=True)
class Drill:
    """``item`` is the number of the promise it tests; ``done`` and ``expected`` are in words. ``short`` ones
    take about a second of processor time; ``faces`` ones need real faces."""

    item: str
    done: str
    expected: str
    hold: Callable[[Site], Outcome]
    short: bool
    faces: bool

    @property
    def name(self) -> str:
        return f"{self.item}-{self.hold.__name__}"

    def held(self, site: Site) -> Outcome:
        """Run it; an error of the drill itself is a failure that says so."""
        if self.faces and site.faces is None:
            return Outcome("needs --faces", None)
        try:
            return self.hold(site)
        except CannotHold as reason:
            return Outcome(str(reason), None)
        except Exception as error:
            return Outcome(f"the drill failed: {type(error).__name__}: {error}", False)


DRILLS: list[Drill] = []


def drill(
    item: str, done: str, expected: str, *, short: bool = False, faces: bool = False
) -> Callable[[Callable[[Site], Outcome]], Callable[[Site], Outcome]]:
    """Register a drill."""

    def register(hold: Callable[[Site], Outcome]) -> Callable[[Site], Outcome]:
        DRILLS.append(Drill(item, done, expected, hold, short, faces))
        return hold

    return register
