"""Requests to the service, for its tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def photo(path: Path) -> tuple[str, bytes, str]:
    return (path.name, path.read_bytes(), "image/jpeg")


def enroll(client: Any, name: str, *paths: Path, **query: Any) -> Any:
    files = [("photos", photo(path)) for path in paths]
    return client.post(f"/v1/people/{name}/photos", files=files, params=query)


def whole(model: type, document: dict) -> None:
    """The model describes the document: all of it, and nothing else."""
    assert model.model_validate(document).model_dump(by_alias=True, mode="json") == document


def without(document: dict, *keys: str) -> dict:
    return {key: value for key, value in document.items() if key not in keys}
