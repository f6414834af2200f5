"""Whose photo a path is."""

from __future__ import annotations


def identity_of(name: str) -> str | None:
    """The folder that an image lies in, which in labelled data is its identity."""
    return name.rsplit("/", 1)[0] if "/" in name else None
