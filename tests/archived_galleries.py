"""What galleries hold, and archives made by hand, for tests of archives."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from made_galleries import CONTRACT

from facekd.gallery import GalleryRecords

People = dict[str, list[tuple[str, bytes, float, str]]]


def content(path: Path) -> People:
    with GalleryRecords(path, read_only=True) as records:
        return {
            person.name: sorted(
                (t.photo, t.embedding.tobytes(), t.quality, t.enrolled)
                for t in records.templates(person.name)
            )
            for person in records.people()
        }


def change(path: Path, *what: Callable[[GalleryRecords], object]) -> None:
    with GalleryRecords(path) as records:
        for one in what:
            with records.transaction():
                one(records)


def rows(path: Path, query: str) -> list[tuple]:
    db = sqlite3.connect(path)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


Lines = list[dict[str, Any]]


def written(path: Path, lines: list[Any]) -> Path:
    """An archive of ``lines`` (dictionaries, or text as it is) whose sum is right."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    body = "".join(f"{text}\n" for text in texts).encode("utf-8", "surrogatepass")
    path.write_bytes(body + json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n")
    return path


def put(key: str, value: Any, line: int = 2) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        lines[line][key] = value

    return change


def vector(row: np.ndarray, dtype: str = "<f4") -> Callable[[Lines], None]:
    """Put ``row`` where a template is, with its right checksum."""
    import base64

    def change(lines: Lines) -> None:
        blob = row.astype(dtype).tobytes()
        said = f"facekd template\n{CONTRACT.space}\n{CONTRACT.dim}\n{lines[2]['template']}\n".encode()
        lines[2]["embedding"] = base64.b64encode(blob).decode()
        lines[2]["checksum"] = hashlib.sha256(said + blob).hexdigest()

    return change
