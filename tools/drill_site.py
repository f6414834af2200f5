"""What all drills use: the command line in separate processes, limited in time and memory; people, models
and crops."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drill_list import CannotHold, Outcome

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "data" / "samples"
#: bytes of address space of a process: unbounded reading or decoding fails here without harming
#: the machine. torch alone reserves several times what it uses
OPERATORS_SPACE, TRAININGS_SPACE = 4 << 30, 24 << 30
#: bytes that a process may write into one file
FILE_SIZE = 1 << 30
#: seconds; far more than a command takes, also on a busy machine
SECONDS = 180.0
#: the false match rate at which synthetic people are calibrated: there are too few of them for a lower one
DRAWN_FMR = 0.01
#: how the measuring commands are spelled
EVALUATE, EVALUATE_SCORES = ("evaluate",), ("evaluate-scores",)

_PR_CAPBSET_DROP, _CAPABILITIES_OVER_MODES = 24, (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


@dataclass(frozen=True)
class Ran:
    """A process that ended. ``megabytes`` is the peak of its resident memory, `None` if the system does
    not report it."""

    code: int
    out: str
    err: str
    seconds: float
    megabytes: int | None
    late: bool = False

    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout; empty if there is none."""
        with suppress(ValueError):
            found = json.loads(self.out)
            return found if isinstance(found, dict) else {}
        return {}

    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    def check(
        self,
        code: int | Sequence[int],
        *says: str,
        never: Sequence[str] = (),
        reason: str | None = None,
        megabytes: int | None = None,
    ) -> Outcome:
        """Check that it ended with ``code``, printed all of ``says`` and none of ``never``, gave ``reason``
        in its failure document and stayed below ``megabytes``; a traceback always fails."""
        codes = (code,) if isinstance(code, int) else tuple(code)
        text = self.out + self.err
        faults = [f"does not say '{part}'" for part in says if part not in text]
        faults += [f"says '{part}'" for part in (*never, "Traceback") if part in text]
        if reason is not None and self.failure().get("reason") != reason:
            faults.append(f"reason {self.failure().get('reason')}, not {reason}")
        if megabytes is not None and self.megabytes is not None and self.megabytes > megabytes:
            faults.append(f"{self.megabytes} MB")
        if self.late:
            faults.append("did not end")
        found = f"exit {self.code}"
        if megabytes is not None:
            found += f", {self.megabytes} MB"
        told = next((line for line in text.splitlines() if says and says[0] in line), "")
        if faults or self.code not in codes:
            return Outcome(f"{found}, {', '.join(faults)} [{_last(self.err) or _last(self.out)}]", False)
        return Outcome(f"{found}, '{told.strip()}'" if told else found, True)

    def failure(self) -> dict[str, Any]:
        documents = [self.document()]
        with suppress(ValueError):
            documents += [line for line in self.lines() if isinstance(line, dict)]
        for document in documents:
            for one in (document.get("failure"), *(document.get("failures") or ())):
                if isinstance(one, dict):
                    return one
        return {}


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


@dataclass
class Site:
    """A folder for drills, with their material made on first use. ``faces`` is a folder with
    real faces (lfw.zip, models, detectors), if there is one."""

    folder: Path
    faces: Path | None = None
    _named: int = field(default=0, init=False)

    def new(self, name: str = "work") -> Path:
        """A folder of its own for a drill."""
        self._named += 1
        place = self.folder / f"{name}-{self._named}"
        place.mkdir()
        return place

    # the command line ------------------------------------------------------------------------------

    def facekd(self, *arguments: object, **settings: Any) -> Ran:
        """Run ``facekd ARGUMENTS`` as `run` does."""
        return self.run([sys.executable, "-m", "facekd", *map(_plain, arguments)], **settings)

    def python(self, code: str, *arguments: object, **settings: Any) -> Ran:
        """Run ``code``, which finds ``arguments`` in ``sys.argv[1:]``, as `run` does."""
        return self.run([sys.executable, "-c", code, *map(_plain, arguments)], **settings)

    def run(
        self,
        command: Sequence[str | bytes],
        *,
        seconds: float = SECONDS,
        space: int = OPERATORS_SPACE,
        after: Callable[[subprocess.Popen[bytes]], None] | None = None,
        **settings: Any,
    ) -> Ran:
        """Run ``command`` to its end, or for ``seconds``; ``after`` is called when it has begun."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            began = time.monotonic()
            process = self.start(command, space=space, stdout=out, stderr=err, **settings)
            late, peak = False, 0
            try:
                if after is not None:
                    after(process)
                while process.poll() is None:
                    # of the program itself: until it starts, the memory is that of the forking process
                    peak = peak_of(process.pid) or peak
                    late = time.monotonic() - began > seconds
                    if late:
                        break
                    time.sleep(0.005)
            finally:
                end(process)
            took = time.monotonic() - began
            said, told = _content(out), _content(err)
        return Ran(process.returncode, said, told, took, peak or None, late)

    def start(
        self,
        command: Sequence[str | bytes],
        *,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        space: int = OPERATORS_SPACE,
        file_size: int = FILE_SIZE,
        **settings: Any,
    ) -> subprocess.Popen[bytes]:
        """Start ``command`` in a session of its own, with limits and as a user whom file modes restrict."""
        return subprocess.Popen(
            list(command), cwd=cwd or self.folder, env=self.environment() | (env or {}),
            preexec_fn=functools.partial(_bounded, space, file_size, _bound_by_modes()),
            start_new_session=True, **settings,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FACEKD_")}
        path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH", "")]))
        return kept | {"FACEKD_CACHE": str(self.folder / "cache"), "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    @functools.cached_property
    def modes_bind(self) -> bool:
        """Whether file modes restrict the processes of this site (mode 000 cannot be read)."""
        closed = self.folder / "closed"
        closed.write_bytes(b"")
        closed.chmod(0)
        found = self.run(["cat", str(closed)]).code != 0
        closed.unlink()
        return found

    def need_modes(self) -> None:
        if not self.modes_bind:
            raise CannotHold("modes of files do not bind this user, and that could not be given up")

    # what it is tried on ---------------------------------------------------------------------------

    @functools.cached_property
    def model(self) -> Path:
        """A copy of the shipped student."""
        from facekd.weights import shipped_model

        shipped = shipped_model()
        if shipped is None:
            raise CannotHold("no student ships with this checkout")
        return Path(shutil.copy(shipped, self.folder / "student.onnx"))

    @functools.cached_property
    def people(self) -> dict[str, list[Path]]:
        """ann and bob, three photos each; ann's are similar to each other and not to bob's, by the model's
        own scores: synthetic people, or the people of LFW with the most photos."""
        chooser = ROOT / "tools" / "drill_cast.py"
        ran = self.run([sys.executable, str(chooser), str(self.model), str(self._portraits)])
        if ran.code:  # not a reason to skip drills: another model may need other photos
            raise RuntimeError(f"choosing people to drill with failed: {_last(ran.err)}")
        found = json.loads(ran.out)
        return {name: [Path(photo) for photo in photos] for name, photos in found.items()}

    @property
    def ann(self) -> list[Path]:
        return self.people["ann"]

    @property
    def bob(self) -> list[Path]:
        return self.people["bob"]

    @functools.cached_property
    def _portraits(self) -> Path:
        if self.faces is None:
            return SAMPLES
        target = self.folder / "portraits"
        with zipfile.ZipFile(self.faces / "lfw.zip") as pack:
            photos: dict[str, list[str]] = {}
            for name in pack.namelist():
                photos.setdefault(name.split("/")[0], []).append(name)
            for person in sorted(photos, key=lambda one: -len(photos[one]))[:24]:
                for name in sorted(photos[person])[:5]:
                    pack.extract(name, target)
        return target

    @functools.cached_property
    def tree(self) -> Path:
        """people/ann and people/bob with their photos."""
        tree = self.folder / "people"
        for name, photos in self.people.items():
            (tree / name).mkdir(parents=True)
            for photo in photos[:2]:
                shutil.copy(photo, tree / name)
        return tree

    @functools.cached_property
    def calibrated(self) -> Path:
        """The student with thresholds and a score map from drawn people."""
        target = self.folder / "calibrated.onnx"
        ran = self.facekd("calibrate", self.model, "--data", SAMPLES, "--fmr", DRAWN_FMR, "--out", target)
        if ran.code:
            raise CannotHold(f"no calibration: {_last(ran.err)}")
        return target

    @functools.cached_property
    def crops(self) -> Path:
        """Crops of drawn people, a folder per person; read only."""
        ran = self.facekd("align", SAMPLES, self.folder / "crops", "--jobs", 1)
        if ran.code:
            raise CannotHold(f"no crops: {_last(ran.err)}")
        return self.folder / "crops"

    @functools.cached_property
    def gallery(self) -> Path:
        """A gallery with ann and bob, to be copied."""
        ran = self.enroll_all(self.folder / "staff.db")
        if ran.code:
            raise CannotHold(f"no gallery: {_last(ran.err)}")
        return self.folder / "staff.db"

    def enroll_all(self, gallery: Path) -> Ran:
        return self.facekd("enroll", "--from", self.tree, "--model", self.model, "--gallery", gallery)

    def own_gallery(self) -> Path:
        """A copy of `gallery` in a folder of its own."""
        return Path(shutil.copy(self.gallery, self.new("gallery") / "staff.db"))

    @contextmanager
    def small_disk(self, megabytes: int) -> Iterator[Path]:
        """A disk of this many megabytes. Raises `CannotHold` if none can be mounted."""
        place = self.new("disk")
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0700", "tmpfs", str(place)]
        if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
            raise CannotHold("no small disk can be mounted by this user")
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def fill(disk: Path, left: int = 0) -> None:
    """Fill ``disk`` to all but ``left`` bytes."""
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    if left:
        os.truncate(disk / "filler", max(0, (disk / "filler").stat().st_size - left))


def peak_of(process: int) -> int:
    """The peak of a running process's resident memory in megabytes; 0 if the system does not report it."""
    with suppress(OSError, IndexError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return 0


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill ``process`` and all processes that it started."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _content(file: Any) -> str:
    file.seek(0)
    return bytes(file.read(8 << 20)).decode("utf-8", "backslashreplace")


def _plain(argument: object) -> str | bytes:
    return argument if isinstance(argument, bytes) else str(argument)


@functools.cache
def _bound_by_modes() -> Callable[[], None]:
    """A function that a child calls before it starts, so that file modes restrict it even if it is root's;
    other users are restricted anyway."""
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        return lambda: None
    libc = ctypes.CDLL(None)

    def give_up() -> None:
        for capability in _CAPABILITIES_OVER_MODES:
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)

    return give_up


def _bounded(space: int, file_size: int, give_up: Callable[[], None]) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # a shell that starts us in the background makes its children ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    give_up()
