"""What a service is started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from facekd.errors import UsageError
from facekd.gallery import Place
from facekd.service.tokens import Token


@dataclass(frozen=True)
class ServiceSettings:
    """Where a service listens, whom it serves (``tokens``; anybody on this machine where there are none) and
    what it takes: ``max_upload`` bytes and ``max_photos`` photos a request, which have ``upload_seconds`` to
    arrive; ``workers`` requests are worked on at once and ``queue`` more wait. A request's head has
    ``head_seconds``, and what was accepted before the end ``grace_seconds``. With ``audit_reads`` claims and
    searches are noted in the gallery.

    Raises `UsageError` for an address beyond this machine without tokens.
    """

    gallery: Place
    host: str = "127.0.0.1"
    port: int = 8000
    tokens: tuple[Token, ...] = ()
    max_upload: int = 16_000_000
    max_photos: int = 32
    workers: int = 2
    queue: int = 16
    upload_seconds: float = 30.0
    head_seconds: float = 10.0
    grace_seconds: float = 60.0
    audit_reads: bool = False

    def __post_init__(self) -> None:
        if not self.tokens and not is_loopback(self.host):
            raise UsageError(
                f"{self.host} can be reached from other machines, and nobody would have to say who they are",
                "Give --tokens FILE, or listen on 127.0.0.1.",
            )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``: an address, or ``localhost``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
