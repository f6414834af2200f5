"""Registries: find things by name, each in a file that registers itself with a decorator.

The folder is listed when a name is requested, so adding a file is enough. Files whose
name begins with an underscore are helpers.

Another package adds to a registry by an entry point that names a module which uses the same decorator::

    [project.entry-points."facekd.losses"]
    huber = "my_package.huber"      # my_package/huber.py has @register_loss("huber")

Such a module is imported when its name is requested; one that fails to import is then reported, and does
not affect the others.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from facekd.errors import UsageError

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class _Registered(Generic[Thing]):
    thing: Thing
    #: the module that registered it
    module: str
    note: str


class Registry(Generic[Thing]):
    """The things of one folder and of other packages; errors call them ``kind``, ``package`` is
    the folder, ``plugins`` the group of entry points."""

    def __init__(self, kind: str, package: str, plugins: str, error: type[UsageError] = UsageError) -> None:
        self._kind, self._package, self._group, self._error = kind, package, plugins, error
        self._found: dict[str, _Registered[Thing]] = {}

    def register(self, name: str, note: str = "") -> Callable[[Thing], Thing]:
        """A decorator that makes a function or class available as ``name``; ``note`` describes it in one
        line, for a list of choices."""

        def keep(thing: Thing) -> Thing:
            self.add(name, thing, thing.__module__, note)
            return thing

        return keep

    def add(self, name: str, thing: Thing, module: str, note: str = "") -> None:
        """Make ``thing``, of ``module``, available as ``name``; two with one name are a bug."""
        if name in self._found:
            raise ValueError(f"two {self._kind}s are named {name}")
        self._found[name] = _Registered(thing, module, note)

    def names(self) -> list[str]:
        """All names, sorted: those of the files and those declared by other packages."""
        self._list_folder()
        return sorted({*self._found, *self._plugins()})

    def __getitem__(self, name: str) -> Thing:
        """The thing named ``name``. Otherwise the error lists the known names, or names the package that
        cannot be loaded, or the packages that both claim the name."""
        self._list_folder()
        offers = self._plugins().get(name, ())
        owners = [_package_of(offer) for offer in offers]
        if self._is_own(name):
            owners.insert(0, "facekd")
        if len(owners) > 1:
            raise self._error(
                f"the {self._kind} '{name}' is claimed by {' and by '.join(owners)}",
                "Uninstall one, or rename its entry point.",
            )
        if offers and name not in self._found:
            self._load(name, offers[0])
        if name not in self._found:
            raise self._error(f"no {self._kind} is named '{name}'", f"Known: {', '.join(self.names())}.")
        return self._found[name].thing

    def working(self) -> dict[str, Thing]:
        """Everything by name, without what cannot be loaded; that of other packages is last."""
        things = {}
        for name in sorted(self.names(), key=lambda name: not self._is_own(name)):
            try:
                things[name] = self[name]
            except self._error:
                continue
        return things

    def notes(self) -> dict[str, str]:
        """The note of everything in `working`, by name."""
        return {name: self._found[name].note for name in self.working()}

    def _list_folder(self) -> None:
        folder = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(folder.__path__):
            if not module.ispkg and not module.name.startswith("_"):
                importlib.import_module(f"{self._package}.{module.name}")

    def _is_own(self, name: str) -> bool:
        return name in self._found and self._found[name].module.startswith(f"{self._package}.")

    def _plugins(self) -> dict[str, tuple[EntryPoint, ...]]:
        return _entry_points(self._group, tuple(sys.path))

    def _load(self, name: str, offer: EntryPoint) -> None:
        before = set(self._found)
        try:
            offer.load()
        # whatever another package's code raises is handled alike
        except Exception as error:
            for half_done in set(self._found) - before:
                del self._found[half_done]
            raise self._error(
                f"the {self._kind} '{name}' of the package {_package_of(offer)} cannot be loaded: "
                f"{type(error).__name__}: {error}",
                f"Fix or uninstall {_package_of(offer)}.",
            ) from error
        if name not in self._found:
            raise self._error(
                f"the package {_package_of(offer)} declares the {self._kind} '{name}', but {offer.value} "
                "does not register it",
                f"Fix or uninstall {_package_of(offer)}.",
            )


@functools.cache
def _entry_points(group: str, path: tuple[str, ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """The entry points of ``group`` by name, as declared by packages on ``path``, that is `sys.path`."""
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "?"
