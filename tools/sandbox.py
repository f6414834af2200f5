"""Run an installation in a sandbox: an empty home folder, no network, and a record of all writes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Python runs this in every process of the sandbox before anything else. SQLite is noticed through the call
# that opens a file; files opened by other compiled code are not noticed.
_WATCH = """
import json, os, sys

NETWORK = {"socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"}
CHANGES = {"os.chmod", "os.mkdir", "os.truncate", "os.utime"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
LOG = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def note(kind, what):
    os.write(LOG, (json.dumps([kind, what]) + "\\n").encode())

def wrote(place, folder=-1):
    if not isinstance(place, int):
        start = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else os.getcwd()
        note("write", os.path.normpath(os.path.join(start, os.fsdecode(place))))

def hook(event, given):
    if event in NETWORK:
        note("network", f"{event} {given[-1]!r}")
        raise OSError(101, "Network is unreachable")
    if event == "open" and given[2] & WRITES:
        wrote(given[0])
    elif event in CHANGES:
        wrote(given[0])
    elif event in ("os.remove", "os.rmdir"):
        wrote(*given)  # below an open folder, where a tree is removed
    elif event in ("os.link", "os.rename", "os.symlink"):
        wrote(given[1])
    elif event == "sqlite3.connect" and "mode=ro" not in str(given[0]):
        wrote(str(given[0]).removeprefix("file://").partition("?")[0])

sys.addaudithook(hook)
"""

# For `unshare`: everything except the sandbox becomes read-only. Devices stay writable (for semaphores).
_READ_ONLY = """
mount --bind "$0" "$0" || exit 1
while read -r _ place _; do
    case "$place" in "$0"|/dev*|/proc*|/sys*) continue;; esac
    mount -o remount,bind,ro "$place" || exit 1
done < /proc/self/mounts
cd "$PWD" && exec "$@"
"""


@dataclass(frozen=True)
class Sandbox:
    """The place where ``python`` runs: an empty ``home``, an empty folder to ``work`` in, and nothing else
    that can be written. There is no network: ``wall`` is the command that isolates it, ``shut_off`` says how
    well."""

    python: Path
    root: Path
    wall: tuple[str, ...]
    shut_off: str

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(self.root / "watch"),
            "WATCH_LOG": str(self.root / "watch" / "log"),
        }

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run Python with ``arguments``, isolated and watched."""
        command = [*self.wall, str(self.python), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=self.environment, cwd=self.work)

    def facekd(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "facekd", *arguments)

    def noted(self) -> tuple[list[str], list[str]]:
        """The attempts to use the network, and the files outside that were written; clears the record."""
        log = self.root / "watch" / "log"
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        log.write_text("")
        mine = (f"{self.home}/", f"{self.work}/", "/proc/self/")
        network = [what for kind, what in lines if kind == "network"]
        places = dict.fromkeys(what for kind, what in lines if kind == "write" and what != os.devnull)
        return network, [place for place in places if not f"{place}/".startswith(mine)]


def make_sandbox(python: Path, root: Path) -> Sandbox:
    """A new sandbox below ``root``, isolated as well as the system allows."""
    root = root.resolve()
    for name in ("home", "work", "watch"):
        (root / name).mkdir(parents=True)
    (root / "watch" / "sitecustomize.py").write_text(_WATCH)
    (root / "watch" / "log").touch()
    walls = {
        "no network, and nothing else can be written": (
            "unshare", "-rmn", "sh", "-c", _READ_ONLY, str(root),
        ),
        "no network; what Python writes elsewhere is seen": ("unshare", "-rn"),
    }  # fmt: skip
    for told, wall in walls.items():
        if _holds(wall):
            return Sandbox(python, root, wall, told)
    return Sandbox(python, root, (), "what Python tries on the network is refused, what it writes is seen")


def _holds(wall: tuple[str, ...]) -> bool:
    if shutil.which(wall[0]) is None:
        return False
    return subprocess.run([*wall, "true"], capture_output=True).returncode == 0


def faults_of_watch(sandbox: Sandbox) -> list[str]:
    """What the sandbox fails to notice or refuse; a watch that notices nothing would find
    every installation clean."""
    outside = sandbox.root / "outside"
    program = (
        f"import socket\ntry: open({str(outside)!r}, 'w')\n"
        "finally: socket.create_connection(('127.0.0.1', 9))"
    )
    ran = sandbox.run("-c", program)
    network, places = sandbox.noted()
    outside.unlink(missing_ok=True)
    faults = [] if ran.returncode else ["a connection was not refused"]
    faults += [] if network else ["a connection was not noticed"]
    return faults + ([] if places == [str(outside)] else [f"a file outside was not noticed: {places}"])
