"""Operators' commands with a Python that lacks what it lacks on Windows.

Nothing but Linux runs these tests. What only POSIX has is hidden from facekd's own modules; Python's library
and other packages detect the system themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: they train, which is for Linux and macOS
TRAINING = ("facekd.distillation", "facekd.export", "facekd.models", "facekd.training")

# Python runs this file in every process before anything else
_WINDOWS = """
import builtins, os, signal, types

MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
OS = '''O_CLOEXEC O_DIRECTORY O_DSYNC O_NOCTTY O_NOFOLLOW O_NONBLOCK O_SYNC chown chroot fchmod fchown
fdatasync fork forkpty fstatvfs getegid geteuid getgid getloadavg getpgid getresuid getuid killpg lchown lockf
mkfifo nice openpty posix_fadvise posix_fallocate pread pwrite register_at_fork sched_getaffinity
sched_setaffinity sendfile setsid setuid statvfs sync sysconf uname wait3 wait4'''.split()
SIGNALS = '''SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGTSTP SIGUSR1 SIGUSR2 alarm pause setitimer
sigwait'''.split()

def without(module, names):
    left = types.ModuleType(module.__name__)
    left.__dict__.update({name: value for name, value in vars(module).items() if name not in names})
    return left

def open_no_folder(path, flags, mode=0o777, *, dir_fd=None):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", os.fspath(path))
    return os.open(path, flags, mode)

SHOWN = {"os": without(os, OS), "signal": without(signal, SIGNALS)}
SHOWN["os"].open = open_no_folder
# that a lock is taken by it is tested with the report
SHOWN["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda handle, mode, count: None)
real_import = builtins.__import__

def shown_import(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and str((globals or {}).get("__name__")).split(".")[0] == "facekd":
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)
        if name in SHOWN:
            return SHOWN[name]
    return real_import(name, globals, locals, fromlist, level)

builtins.__import__ = shown_import
"""

_IMPORT_ALL = f"""
import importlib, pkgutil, facekd
found = [module.name for module in pkgutil.walk_packages(facekd.__path__, "facekd.")]
mine = [n for n in found if not n.startswith({TRAINING!r}) and n != "facekd.__main__"]
for name in mine:
    importlib.import_module(name)
from facekd.benchmark import memory_probe
from facekd.gallery import database
print(len(mine), memory_probe._most_resident(), hasattr(database.os, "statvfs"))
"""

_RUN_ALL = """
import json, sys
from facekd.cli.main import main
if __name__ == "__main__":
    codes = [int(main(command)) for command in json.loads(sys.argv[1])]
    print("codes", codes)
"""


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which facekd's modules see what they would on Windows."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(_WINDOWS)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), "OMP_NUM_THREADS": "1"}


def python(
    windows: dict[str, str], folder: Path, program: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    file = folder / "program.py"
    file.write_text(program)
    command = [sys.executable, str(file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=windows, cwd=folder)


def test_every_module_that_does_not_train_is_imported(windows: dict[str, str], tmp_path: Path) -> None:
    ran = python(windows, tmp_path, _IMPORT_ALL)
    assert ran.returncode == 0, ran.stderr
    count, most_resident, knows_statvfs = ran.stdout.split()
    assert int(count) > 150
    assert (most_resident, knows_statvfs) == ("None", "False")


def test_a_name_that_stdout_has_no_letters_for(
    windows: dict[str, str], photos: Path, tiny: Path, tmp_path: Path
):
    name, common = "Žofie Łuk", ["--gallery", "gallery.db"]
    commands = [
        ["enroll", name, str(photos / "a.jpg"), "--model", str(tiny), *common],
        ["gallery", "list", *common],
        ["gallery", "list", *common, "--json"],
    ]
    # what Python takes in western Europe where its output is no console
    western = {**windows, "PYTHONIOENCODING": "cp1252"}
    (tmp_path / "program.py").write_text(_RUN_ALL)
    command = [sys.executable, "program.py", json.dumps(commands)]
    ran = subprocess.run(command, capture_output=True, env=western, cwd=tmp_path)
    assert b"codes [0, 0, 0]" in ran.stdout, ran.stderr
    assert "Žofie ".encode("cp1252") + b"\\u0141uk" in ran.stdout
    assert f'"name": "{name}"'.encode() in ran.stdout


def test_align_enroll_verify_and_remove(
    windows: dict[str, str], photos: Path, tiny: Path, tmp_path: Path
) -> None:
    common = ["--model", str(tiny), "--gallery", "gallery.db"]
    sure = ["--threshold", "0.9"]
    a, b, c = (str(photos / f"{name}.jpg") for name in "abc")
    commands = [
        ["align", a, b, "crops"],
        ["enroll", "Ann", a, b, *common],
        ["verify", "--claim", "Ann", c, *sure, *common],
        ["verify", a, b, *sure, *common],
        ["gallery", "list", "--gallery", "gallery.db"],
        ["gallery", "remove", "Ann", "--yes", "--gallery", "gallery.db"],
        ["verify", "--claim", "Ann", c, *sure, *common],
    ]
    ran = python(windows, tmp_path, _RUN_ALL, json.dumps(commands))
    assert "codes [0, 0, 0, 0, 0, 0, 2]" in ran.stdout, ran.stderr
    assert {file.stem for file in (tmp_path / "crops").glob("*.webp")} == {"a", "b"}
    assert "removed Ann: 2" in ran.stdout
