"""Things found by name: each is a file of its folder and registers itself with a decorator.

The folder is listed when a name is asked for, so that adding a file is all it takes. Files whose
name begins with an underscore are helpers.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

from facekd.errors import UsageError

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """The things of one folder; ``kind`` is what an error calls them, ``package`` the folder."""

    def __init__(self, kind: str, package: str, error: type[UsageError] = UsageError) -> None:
        self._kind, self._package, self._error = kind, package, error
        self._things: dict[str, Thing] = {}

    def register(self, name: str) -> Callable[[Thing], Thing]:
        """A decorator that makes a thing available as ``name``."""

        def keep(thing: Thing) -> Thing:
            self.add(name, thing)
            return thing

        return keep

    def add(self, name: str, thing: Thing) -> None:
        """Make ``thing`` available as ``name``; two of a name are a bug."""
        if name in self._things:
            raise ValueError(f"two {self._kind}s are named {name}")
        self._things[name] = thing

    def names(self) -> list[str]:
        """All names, sorted, of the files that are there."""
        folder = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(folder.__path__):
            if not module.ispkg and not module.name.startswith("_"):
                importlib.import_module(f"{self._package}.{module.name}")
        return sorted(self._things)

    def __getitem__(self, name: str) -> Thing:
        """What ``name`` stands for; an error that lists the known names otherwise."""
        names = self.names()
        if name not in self._things:
            raise self._error(f"no {self._kind} is named '{name}'", f"Known: {', '.join(names)}.")
        return self._things[name]
