"""Arrays with a row for every view of every crop: computed once, stored on disk, memory-mapped.

View k of all crops is one memory-mapped file. It is filled in blocks, each marked once it is on the disk, so
that an interrupted fill continues; a lock keeps two runs from filling one file at the same time.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.card import canonical_json
from facekd.errors import InputOutput
from facekd.files import write_atomically

#: rows between two marks
BLOCK = 2048
#: bytes that are always left free on the disk
_SPARE = 1 << 30


class ViewRows:
    """A row of ``shape`` and ``dtype`` for each of ``count`` crops and each view number.

    ``contract`` states what the rows depend on; its digest, the ``key``, names their folder below ``folder``,
    so that rows of another contract are never read.
    """

    def __init__(
        self, folder: Path, contract: dict[str, object], count: int, shape: tuple[int, ...], dtype: type
    ) -> None:
        self._contract = contract
        self.key = hashlib.sha256(canonical_json(contract)).hexdigest()[:32]
        self.folder = folder / self.key
        self._count, self._shape, self._dtype = count, shape, dtype
        self._open: dict[int, NDArray] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}  # each process maps the files itself

    @contextmanager
    def alone(self, waiting: Callable[[], None]) -> Iterator[None]:
        """A context in which nobody else fills these rows; if somebody does, call ``waiting`` and wait. The
        lock of a killed process is released."""
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def missing(self, numbers: range) -> int:
        """How many rows of the views ``numbers`` are missing."""
        return sum(self._count - self._done(number) for number in numbers)

    def bytes_of(self, numbers: range) -> int:
        """The size in bytes of all rows of the views ``numbers``."""
        return len(numbers) * self._count * int(np.prod(self._shape)) * np.dtype(self._dtype).itemsize

    def fill(
        self,
        numbers: range,
        make: Callable[[int, range], Iterator[NDArray]],
        tell: Callable[[int], None] | None = None,
    ) -> None:
        """Write the missing rows of ``numbers``. ``make`` yields the rows of a view number and a range of
        crops, in portions; ``tell`` gets the count so far. Call it inside `alone`: two fills at once
        would overwrite each other's files.

        Raises `InputOutput` if the disk is too small for them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._require_room(numbers)
        write_atomically(self.folder / "contract.json", json.dumps(self._contract, indent=1).encode())
        for number in numbers:
            done = self._done(number)
            if done == self._count:
                continue
            whole = (self._count, *self._shape)
            rows = np.lib.format.open_memmap(self._file(number), "r+" if done else "w+", self._dtype, whole)
            for made in make(number, range(done, self._count)):
                rows[done : done + len(made)] = made
                before, done = done, done + len(made)
                if before // BLOCK != done // BLOCK or done == self._count:
                    rows.flush()
                    write_atomically(self._mark(number), str(done).encode())
                if tell:
                    tell(len(made))

    def of(self, number: int) -> NDArray:
        """The rows of view ``number``, [crops, ...], memory-mapped; all must exist."""
        if number not in self._open:
            self._open[number] = np.load(self._file(number), mmap_mode="r")
        return self._open[number]

    def _require_room(self, numbers: range) -> None:
        begun = [self._file(number) for number in numbers if self._file(number).is_file()]
        # a file that is not full yet has its final length, but not its final size on the disk
        wanted = self.bytes_of(numbers) - sum(512 * file.stat().st_blocks for file in begun)
        free = shutil.disk_usage(self.folder).free
        if wanted > 0 and wanted + _SPARE > free:
            raise InputOutput(
                f"{self.folder.parent}: {wanted / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free",
                "Set FACEKD_CACHE to a folder on a larger disk, or ask for fewer views in the recipe.",
            )

    def _done(self, number: int) -> int:
        mark = self._mark(number)
        return int(mark.read_text()) if mark.is_file() and self._file(number).is_file() else 0

    def _file(self, number: int) -> Path:
        return self.folder / f"view-{number}.npy"

    def _mark(self, number: int) -> Path:
        return self.folder / f"view-{number}.done"
