"""The machine of a measurement: what explains the figures, and nothing that identifies its owner."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

from facekd.runtime import threads_available
from facekd.version import __version__

#: the instruction sets that ONNX Runtime's kernels choose between
_TELLING = (
    "avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "i8mm", "sve", "bf16",
)  # fmt: skip


@dataclass(frozen=True)
class Hardware:
    """``cores`` are the processors that this process may use, ``instructions`` the instruction sets
    that decide how fast a network runs."""

    processor: str
    cores: int
    instructions: tuple[str, ...]
    memory_bytes: int | None
    system: str


@dataclass(frozen=True)
class Machine:
    """``cores`` are the processors that this process may use; ``load`` is the mean number of running
    processes in the preceding minute (`None` if the system does not report it)."""

    processor: str
    cores: int
    instructions: tuple[str, ...]
    memory_bytes: int | None
    system: str
    python: str
    onnxruntime: str
    numpy: str
    facekd: str
    load: float | None


def this_hardware() -> Hardware:
    """Describe the machine, without its host name, as far as no library is needed."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return Hardware(
        processor=info.get("model name") or platform.processor() or platform.machine(),
        cores=threads_available(),
        instructions=tuple(name for name in _TELLING if name in flags),
        memory_bytes=_memory_bytes(),
        system=_system(),
    )


def this_machine() -> Machine:
    """Describe the machine, without its host name and without paths."""
    import numpy as np
    import onnxruntime

    hardware = this_hardware()
    return Machine(
        processor=hardware.processor,
        cores=hardware.cores,
        instructions=hardware.instructions,
        memory_bytes=hardware.memory_bytes,
        system=hardware.system,
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
        numpy=np.__version__,
        facekd=__version__,
        load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    )


def _cpuinfo() -> dict[str, str]:
    """Keys and values of the first processor in Linux's list; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _system() -> str:
    try:
        name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        name = ""
    # the rest of a kernel's release string may identify the machine's owner
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{name}, {platform.system()} {kernel}" if name else f"{platform.system()} {kernel}"
