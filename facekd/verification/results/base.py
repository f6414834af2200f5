"""The interface of every protocol's result."""

from __future__ import annotations

from typing import Any, Protocol

from facekd.verification.intervals import wilson


class Result(Protocol):
    """The result of a protocol's evaluation."""

    @property
    def failed(self) -> tuple[str, ...]:
        """The photos without an embedding."""
        ...

    def to_dict(self) -> dict[str, Any]: ...


def failures_dict(failed: int, photos: int) -> dict[str, Any]:
    """How many photos gave no embedding, as a rate with its interval."""
    return {
        "photos": photos,
        "failed": failed,
        "rate": failed / photos,
        "interval": wilson(failed, photos).to_dict(),
    }
