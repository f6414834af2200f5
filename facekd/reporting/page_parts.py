"""The figures and sections of a kind of page: functions that register themselves."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Source = TypeVar("Source")
Part = TypeVar("Part")


class PageParts(Generic[Source, Part]):
    """Functions that make parts of a page from a result, in order.

    ``folder`` is the package that contains them; its files are imported when the parts are requested, so
    adding a file is enough. Files whose name begins with an underscore are helpers.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        #: the functions with their places
        self.registered: list[tuple[float, Callable[[Source], Iterable[Part]]]] = []

    def register(
        self, place: float
    ) -> Callable[[Callable[[Source], Iterable[Part]]], Callable[[Source], Iterable[Part]]]:
        """A decorator for a function that yields no, one or several parts; the lowest ``place`` comes
        first, and of equal places the one registered first."""

        def keep(make: Callable[[Source], Iterable[Part]]) -> Callable[[Source], Iterable[Part]]:
            self.registered.append((place, make))
            return make

        return keep

    def of(self, source: Source) -> list[Part]:
        """The parts made from ``source``, in order."""
        if self._folder:
            folder = importlib.import_module(self._folder)
            for module in pkgutil.iter_modules(folder.__path__):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{self._folder}.{module.name}")
        ordered = sorted(self.registered, key=lambda entry: entry[0])
        return [part for _, make in ordered for part in make(source)]
