"""Measure what facekd's extras add to an installation: packages and bytes.

`check_install.py --extras` has pip install each of them, and prints the table of docs/install.md.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Extra:
    """An extra, what it is needed ``to`` do in the words of docs/install.md, and the extra that it is of no
    use without."""

    name: str
    to: str
    upon: str | None = None


#: in the order of docs/install.md
EXTRAS = (
    Extra("train", "distil, train and export as well"),
    Extra("teachers", "use a teacher from timm", "train"),
    Extra("board", "watch a run in TensorBoard"),
    Extra("service", "[serve a gallery](serve.md) over HTTP"),
    Extra("postgres", "keep a gallery [in PostgreSQL](gallery-postgres.md)"),
    Extra("milvus", "search [millions of people](search-indexes.md) on a Milvus server"),
    Extra("encryption", "[encrypt a gallery](encryption.md)"),
    Extra("heic", "read HEIC photos"),
    Extra("parquet", "write embeddings to a `.parquet` file"),
)
CORE = "align, verify, enroll, calibrate, evaluate, benchmark"


@dataclass(frozen=True)
class Taken:
    """What an installation takes, or an extra in addition: ``packages`` besides facekd and pip, and the
    ``size`` of site-packages in bytes, compiled files included."""

    packages: int
    size: int


@dataclass(frozen=True)
class Environment:
    """A virtual environment at ``place``, into which pip installs what ``constraints`` allow."""

    place: Path
    constraints: Path

    @property
    def python(self) -> Path:
        return self.place / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        (found,) = self.place.glob("lib/python*/site-packages")
        return found

    def install(self, what: str) -> None:
        self._pip("install", "--constraint", str(self.constraints), what)

    def remove(self, packages: set[str]) -> None:
        if packages:
            self._pip("uninstall", "--yes", *sorted(packages))

    def packages(self) -> dict[str, str]:
        """The distributions in it, with their versions."""
        there = importlib.metadata.distributions(path=[str(self.site_packages)])
        return {one.name.lower().replace("_", "-"): one.version for one in there}

    def sizes(self) -> dict[str, int]:
        """Bytes of each entry of site-packages, including compiled files."""
        return {
            entry.name: sum(file.stat().st_size for file in entry.rglob("*") if file.is_file())
            if entry.is_dir()
            else entry.stat().st_size
            for entry in self.site_packages.iterdir()
        }

    def taken(self) -> Taken:
        """What all of it takes, pip and setuptools included in the bytes."""
        own = self.packages().keys() - {"facekd", "pip", "setuptools"}
        return Taken(len(own), sum(self.sizes().values()))

    def _pip(self, *arguments: str) -> None:
        command = [str(self.python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
        subprocess.run(command, check=True, env=without_path(), stderr=subprocess.DEVNULL)


def without_path() -> dict[str, str]:
    """This process's environment without further module folders."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def measure_extras(environment: Environment, wheel: Path) -> Iterator[tuple[str, Taken]]:
    """Install each extra of ``wheel`` in ``environment``, which has none, measure what it adds and remove it,
    unless another is only of use upon it."""
    foundations = {extra.upon for extra in EXTRAS if extra.upon}
    for extra in sorted(EXTRAS, key=lambda extra: (bool(extra.upon), extra.name in foundations)):
        packages, before = environment.packages().keys(), environment.taken()
        environment.install(f"{wheel}[{extra.name}]")
        added = environment.packages().keys() - packages
        yield extra.name, Taken(len(added), environment.taken().size - before.size)
        if extra.name not in foundations:
            environment.remove(added)


def extras_table(core: Taken, of_extras: dict[str, Taken]) -> Iterator[str]:
    """The lines of the table of docs/install.md."""
    yield "| to | install | packages | disk |\n| --- | --- | --- | --- |"
    yield _row(CORE, "pip install .", f"{core.packages}", _mb(core.size))
    for extra in EXTRAS:
        if extra.name in of_extras:
            more = of_extras[extra.name]
            upon = f" than with `{extra.upon}`" if extra.upon else ""
            install = f"pip install '.[{extra.name}]'"
            yield _row(extra.to, install, f"{more.packages} more", f"{_mb(more.size)} more{upon}")


def _row(to: str, install: str, packages: str, disk: str) -> str:
    return f"| {to} | `{install}` | {packages} | {disk} |"


def _mb(size: int) -> str:
    return f"{size / 1e6:.{0 if size >= 1e7 else 1}f} MB"
