"""One enrolled photo, and its stored form, which reveals damage when it is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

#: tolerance for the length of a stored embedding; float32 rounding is far below
_LENGTH_TOLERANCE = 1e-3


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Template:
    """One enrolled photo: ``embedding`` float32 [D] of unit length, ``photo`` the SHA-256 of its
    file (hexadecimal), ``quality`` in [0, 1], ``enrolled`` a date in UTC."""

    embedding: NDArray[np.float32]
    photo: str
    quality: float
    enrolled: str = field(default_factory=now)


def is_unit(embedding: NDArray[np.float32]) -> bool:
    """Whether ``embedding`` has unit length; with NaN or infinity it does not."""
    with np.errstate(over="ignore", invalid="ignore"):
        length = float(np.linalg.norm(embedding))
    return abs(length - 1) <= _LENGTH_TOLERANCE


def pack(embedding: NDArray[np.float32]) -> bytes:
    """The bytes that the gallery stores: little-endian float32."""
    return embedding.astype("<f4").tobytes()


def unpack(blob: object, dim: int) -> NDArray[np.float32] | None:
    """The embedding [``dim``] in ``blob``; `None` if that does not hold one of unit length."""
    if not isinstance(blob, bytes) or len(blob) != 4 * dim:
        return None
    embedding = np.frombuffer(blob, "<f4").astype(np.float32)
    return embedding if is_unit(embedding) else None


def checksum(space: str, dim: int, photo: str, blob: bytes) -> str:
    """SHA-256 (hexadecimal) over an embedding's bytes and its space and photo, which reveals a vector that
    was changed, negated, or moved to another photo's row."""
    of_what = f"facekd template\n{space}\n{dim}\n{photo}\n"
    return hashlib.sha256(of_what.encode("utf-8", "surrogatepass") + blob).hexdigest()


def row_checksum(
    space: str, dim: int, uid: str, name: str, photo: str, blob: bytes, quality: float, enrolled: str
) -> str:
    """SHA-256 (hexadecimal) over an embedding's bytes, its space, photo, quality and date, and the person's
    ``uid`` and ``name``. It also reveals a template that was given to another person, and two people whose
    names were exchanged."""
    said = row_said(space, dim, uid, name, photo, quality, enrolled)
    return hashlib.sha256(said + blob).hexdigest()


def row_said(space: str, dim: int, uid: str, name: str, photo: str, quality: float, enrolled: str) -> bytes:
    """All that the row of an embedding says, and whose it is, as checksum and encryption cover it."""
    said = json.dumps([space, dim, uid, name, photo, quality, enrolled])
    return b"facekd row\n" + said.encode("ascii") + b"\n"
