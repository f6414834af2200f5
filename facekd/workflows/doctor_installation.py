"""Checks of the installed packages and of the machine: libraries, devices, folders."""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from facekd.errors import Exit
from facekd.files import cache_folder, real_path, target_folder
from facekd.reporting import amount
from facekd.verification.results import Check, Status
from facekd.version import __version__
from facekd.workflows.doctor_look import DoctorSettings, taken


@dataclass(frozen=True)
class Library:
    """A package by its name for pip, the module that it provides, and the oldest version supported; other
    packages provide the same module."""

    package: str
    module: str
    least: str
    in_place: tuple[str, ...] = ()


#: what pyproject.toml requires, the most important first
LIBRARIES = (
    Library("numpy", "numpy", "1.26"),
    Library("onnxruntime", "onnxruntime", "1.18", ("onnxruntime-gpu",)),
    Library("onnx", "onnx", "1.16"),
    Library(
        "opencv-python", "cv2", "4.9",
        ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    ),
    Library("pillow", "PIL", "10"),
    Library("scipy", "scipy", "1.12"),
    Library("scikit-learn", "sklearn", "1.4"),
    Library("pydantic", "pydantic", "2.7"),
    Library("click", "click", "8.1"),
    Library("rich", "rich", "13"),
    Library("matplotlib", "matplotlib", "3.8"),
    Library("jinja2", "jinja2", "3.1"),
    Library("platformdirs", "platformdirs", "4"),
    Library("lazy-loader", "lazy_loader", "0.4"),
)  # fmt: skip


@dataclass(frozen=True)
class Extra:
    """An optional set of packages, and what it ``enables``; ``modules`` by their package's name."""

    name: str
    enables: str
    modules: dict[str, str]


#: the extras in pyproject.toml
EXTRAS = (
    Extra(
        "train", "distil, train, export",
        {
            "facenet-pytorch": "facenet_pytorch", "filelock": "filelock",
            "lightning-fabric": "lightning_fabric", "onnxscript": "onnxscript",
            "safetensors": "safetensors", "tomli-w": "tomli_w",
            "torch": "torch", "torchvision": "torchvision",
        },
    ),
    Extra("heic", "HEIC photos", {"pillow-heif": "pillow_heif"}),
    Extra("teachers", "teachers of timm", {"timm": "timm"}),
    Extra("board", "TensorBoard beside a run", {"tensorboard": "tensorboard"}),
    Extra(
        "service", "serve",
        {
            "fastapi": "fastapi", "prometheus-client": "prometheus_client",
            "python-multipart": "python_multipart", "uvicorn": "uvicorn",
        },
    ),
    Extra("postgres", "galleries in PostgreSQL", {"psycopg": "psycopg"}),
    Extra("milvus", "a search index in Milvus", {"pymilvus": "pymilvus"}),
    Extra("parquet", "embed into .parquet", {"pyarrow": "pyarrow"}),
    Extra("encryption", "encrypted galleries", {"cryptography": "cryptography"}),
)  # fmt: skip

#: earlier versions of SQLite have no STRICT tables, which galleries use
_LEAST_SQLITE = "3.37"
#: free bytes below which a disk is reported as nearly full
_LITTLE_ROOM = 500_000_000


def look_at_libraries(settings: DoctorSettings) -> Iterator[Check]:
    """facekd, Python and every required library, each imported once."""
    values = {"facekd": __version__, "python": platform.python_version()}
    yield Check(
        "libraries", "facekd", Status.OK, f"{__version__}, Python {platform.python_version()}", values=values
    )
    for library in LIBRARIES:
        yield _look_at_library(library)
    yield _look_at_twins()
    yield _look_at_sqlite()


def _look_at_library(library: Library) -> Check:
    install = f"pip install '{library.package}>={library.least}'"
    if not _is_there(library.module):
        return _library_fault(library, "not installed", f"Install it: {install}")
    try:
        importlib.import_module(library.module)
    # a broken library may raise anything when it is imported
    except Exception as error:
        told = f"cannot be imported ({error})"
        return _library_fault(library, told, f"Install it again: {install} --force-reinstall")
    version = _version(library)
    if version is None:
        return Check("libraries", library.package, Status.NOTE, "installed, version unknown")
    values = {"version": version}
    if _numbers(version) < _numbers(library.least):
        return _library_fault(
            library, f"{version}, older than {library.least}", f"Install a newer one: {install}", version
        )
    return Check("libraries", library.package, Status.OK, version, values=values)


def _library_fault(library: Library, told: str, fix: str, version: str | None = None) -> Check:
    return Check(
        "libraries", library.package, Status.FAULT, told, fix, Exit.USAGE, {"version": version}
    )  # fmt: skip


def _version(library: Library) -> str | None:
    for package in (library.package, *library.in_place):
        version = _installed(package)
        if version is not None:
            return version
    return getattr(importlib.import_module(library.module), "__version__", None)


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _look_at_twins() -> Check:
    """Packages that overwrite each other's files, so that it is unknown whose are installed."""
    for library in LIBRARIES:
        there = [name for name in (library.package, *library.in_place) if _installed(name)]
        if len(there) > 1:
            return Check(
                "libraries", library.module, Status.NOTE,
                f"{' and '.join(there)} are installed, which overwrite each other",
                f"Uninstall all of them, then install one: pip uninstall {' '.join(there)}",
            )  # fmt: skip
    return Check("libraries", "conflicts", Status.OK, "no two packages provide the same module")


def _look_at_sqlite() -> Check:
    version = sqlite3.sqlite_version
    if _numbers(version) < _numbers(_LEAST_SQLITE):
        return Check(
            "libraries", "SQLite", Status.FAULT, f"{version}: galleries need {_LEAST_SQLITE}",
            "Use a Python that was built with a newer SQLite.", Exit.IO, {"version": version},
        )  # fmt: skip
    return Check("libraries", "SQLite", Status.OK, version, values={"version": version})


def look_at_devices(settings: DoctorSettings) -> Iterator[Check]:
    """The processors, and the devices that ONNX Runtime can use."""
    yield from taken("devices", "processors", _look_at_processors)
    yield from taken("devices", "ONNX Runtime", lambda: _look_at_providers(settings.device))


def _look_at_processors() -> Iterator[Check]:
    from facekd.benchmark import this_hardware

    found = this_hardware()
    memory = (
        "memory unknown" if found.memory_bytes is None else f"{amount(found.memory_bytes, 'B')} of memory"
    )
    processor = " ".join((found.processor, *found.instructions))
    # without AVX2 nothing was measured, and other architectures have other instructions for it
    if "avx2" in found.instructions and not {"avx512_vnni", "avx_vnni"} & {*found.instructions}:
        processor += "; no VNNI: int8 is hardly faster than float32 unless exported with --any-processor"
    yield Check(
        "devices", "processors", Status.OK,
        f"{found.cores} usable, {processor}; {memory}; {found.system}",
        values={"cores": found.cores, "memory_bytes": found.memory_bytes, "processor": found.processor},
    )  # fmt: skip


def _look_at_providers(device: str) -> Iterator[Check]:
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    told = ", ".join(provider.removesuffix("ExecutionProvider") for provider in providers)
    values = {"providers": ",".join(providers)}
    has_cuda = "CUDAExecutionProvider" in providers
    if not has_cuda and Path("/dev/nvidia0").exists():
        yield Check(
            "devices", "ONNX Runtime", Status.NOTE, f"{told}: the GPU of this machine is not used",
            "For --device cuda install onnxruntime-gpu instead of onnxruntime.", values=values,
        )  # fmt: skip
    else:
        yield Check("devices", "ONNX Runtime", Status.OK, told, values=values)
    if device != "cpu" or has_cuda:
        yield from _look_at_device("cuda" if device == "cpu" else device, asked=device != "cpu")


def _look_at_device(device: str, asked: bool) -> Iterator[Check]:
    """Whether a network really runs on ``device``: ONNX Runtime falls back to the CPU silently."""
    from facekd.runtime import open_session
    from facekd.weights import shipped_model

    model = shipped_model()
    if model is None:
        yield Check("devices", device, Status.NOTE, "not tried: this installation has no shipped model")
        return
    used = open_session(model, device).get_providers()[0]
    if used.startswith("CPU"):
        yield Check(
            "devices", device, Status.FAULT if asked else Status.NOTE,
            "ONNX Runtime falls back to the CPU",
            "Install the CUDA and cuDNN that this onnxruntime-gpu was built for.",
            Exit.USAGE if asked else Exit.DONE,
        )  # fmt: skip
    else:
        yield Check(
            "devices", device, Status.OK, f"a network runs on {used.removesuffix('ExecutionProvider')}"
        )


def look_at_folders(settings: DoctorSettings) -> Iterator[Check]:
    """The folders that commands write to."""
    cache = "Set FACEKD_CACHE to a folder with room for converted networks and teachers' targets."
    yield from taken("folders", "cache", lambda: _look_at_folder("cache", cache_folder(), cache, sized=True))
    yield from taken(
        "folders", "targets", lambda: _look_at_folder("targets", target_folder(), cache, sized=True)
    )
    gallery = "People can be verified there, but not enrolled or removed."
    if isinstance(settings.gallery, Path):
        place = real_path(settings.gallery).parent
        yield from taken("folders", "gallery", lambda: _look_at_folder("gallery", place, gallery))
    here = "Runs, reports and packs are written to the current folder by default."
    yield from taken("folders", "current", lambda: _look_at_folder("current", Path.cwd(), here))


def _look_at_folder(name: str, folder: Path, fix: str, sized: bool = False) -> Iterator[Check]:
    used = _size(folder) if sized else None
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    writable = _writable(there)
    told = [str(folder)]
    if there != folder:
        told.append("does not exist yet")
    elif used is not None:
        told.append(f"{amount(used, 'B')} in it")
    told.append(f"{amount(free, 'B')} free")
    if not writable:
        told.append("not writable")
    little = free < _LITTLE_ROOM
    status = Status.OK if writable and not little else Status.NOTE
    yield Check(
        "folders", name, status, ", ".join(told), None if writable else fix,
        values={"path": str(folder), "bytes": used, "free_bytes": free, "writable": writable},
    )  # fmt: skip


def _size(folder: Path) -> int:
    """Bytes of the readable files below ``folder``."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                total += (Path(place) / name).lstat().st_size
            except OSError:
                continue
    return total


def _writable(folder: Path) -> bool:
    """Whether a file can be created there; permissions alone do not reveal a read-only disk."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def look_at_extras(settings: DoctorSettings) -> Iterator[Check]:
    """The optional packages: which are installed, and what the others would enable. None is imported."""
    for extra in EXTRAS:
        missing = [package for package, module in extra.modules.items() if not _is_there(module)]
        if missing:
            yield Check(
                "optional packages", extra.name, Status.NOTE,
                f"{', '.join(missing)} not installed; for: {extra.enables}",
                f"If you need it: pip install 'facekd[{extra.name}]'",
                values={"missing": ",".join(missing)},
            )  # fmt: skip
        else:
            versions = ", ".join(f"{package} {_installed(package) or '?'}" for package in extra.modules)
            yield Check(
                "optional packages", extra.name, Status.OK, f"{versions}; for: {extra.enables}",
                values={"missing": None},
            )  # fmt: skip


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # for a module that was put into sys.modules by hand
        return False
