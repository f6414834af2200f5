"""The settings of a service."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from facekd.errors import UsageError
from facekd.gallery import Place
from facekd.service.tokens import Token


@dataclass(frozen=True)
class ServiceSettings:
    """Where a service listens, who may use it (``tokens``; without any, everybody on this machine) and its
    limits: ``max_upload`` bytes and ``max_photos`` photos per request, which must arrive within
    ``upload_seconds``, its head within ``head_seconds``; ``workers`` requests are processed at the same time
    and ``queue`` more wait. At shutdown, accepted requests have ``grace_seconds``. With ``audit_reads``,
    claims and searches are recorded in the gallery.

    Raises `UsageError` if other machines can reach the address and there are no tokens.
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
                f"{self.host} can be reached from other machines, and without tokens anybody could use it",
                "Give --tokens FILE, or listen on 127.0.0.1.",
            )


def is_loopback(host: str) -> bool:
    """Whether ``host``, an address or ``localhost``, can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
