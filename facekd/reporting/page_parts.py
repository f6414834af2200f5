"""The figures and sections of a kind of page: each a function that registers itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Source = TypeVar("Source")
Part = TypeVar("Part")


class PageParts(Generic[Source, Part]):
    """Functions that make parts of a page from what was measured, in order.

    ``folder`` is the package in whose files they stand; it is listed when the parts are asked for, so that
    adding a file is all it takes. Files whose name begins with an underscore are helpers.
    """

    def __init__(self, folder: str | None = None) -> None:
        self._folder = folder
        #: the functions with their places
        self.registered: list[tuple[float, Callable[[Source], Iterable[Part]]]] = []

    def register(
        self, place: float
    ) -> Callable[[Callable[[Source], Iterable[Part]]], Callable[[Source], Iterable[Part]]]:
        """A decorator for a function that gives no, one or several parts; the least ``place`` stands
        first, of equal ones that which was registered first."""

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
