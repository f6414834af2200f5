"""The checks that every request passes: its token, its origin, and what is logged of it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facekd.service.answers import failed
from facekd.service.failures import Refused
from facekd.service.metrics import Metrics
from facekd.service.settings import ServiceSettings, is_loopback
from facekd.service.tokens import bearer

LOG = logging.getLogger("facekd.service")

#: paths that need no token: the state of the service, and the page, which holds no data
OPEN = {"/", "/healthz", "/readyz"}
_METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"}
#: how long a client may continue to send a body that is not read
_LINGER_SECONDS = 2.0
_SECURITY = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Gate:
    """Refuses requests without a known token, if there are tokens. Without them the service listens on this
    machine only, and requests that a page of another origin makes a browser send are refused.

    Adds the security headers, counts requests and logs a line for each, without names of people, which
    paths may contain.
    """

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, exchange = time.perf_counter(), _Exchange(scope, receive, send)
        scope["told"], caller = [], "-"
        try:
            caller = self._admitted(scope)
            scope["by"] = caller if self._settings.tokens else None
            await self._app(scope, exchange.receive, exchange.send)
        except Refused as error:
            await failed(error)(scope, exchange.receive, exchange.send)
        except Exception as error:
            _report(error)
            if exchange.status is None:
                await failed(error)(scope, exchange.receive, exchange.send)
        seconds = time.perf_counter() - started
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = _route(scope)
        self._metrics.count(method, route, exchange.status or 0, seconds)
        told = "".join(f" {one}" for one in scope["told"])
        LOG.info("%s %s %s %s %.0f ms%s", caller, method, route, exchange.status, seconds * 1000, told)

    def _admitted(self, scope: Scope) -> str:
        """The name of the token. Raises `Refused`."""
        headers = Headers(scope=scope)
        if not self._settings.tokens:
            _check_page(headers)
            return "local"
        name = bearer(self._settings.tokens, headers.get("authorization"))
        if name is None and scope["path"] not in OPEN:
            raise Refused(
                401, "token", "no token, or an unknown one", "Send the header Authorization: Bearer TOKEN."
            )
        return name or "-"


def _check_page(headers: Headers) -> None:
    """Raise `Refused` for a request by a page of another origin: under a name of its own that resolves to
    this machine (DNS rebinding), or under this machine's (cross-site request forgery)."""
    host = headers.get("host", "")
    if len(headers.getlist("host")) != 1 or not is_loopback(_hostname(host)):
        raise Refused(403, "host", f"this service is not {host[:100]!a}", "Send the request to 127.0.0.1.")
    origin = headers.get("origin")
    foreign = origin is not None and origin.lower() != f"http://{host.lower()}"
    if foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Refused(403, "origin", "a page of another origin sent this request", "Use the service's page.")


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class _Exchange:
    """One request and its response: adds the security headers, and records the status.

    If the response comes before the whole body, it is the last one of its connection: the server would
    otherwise read and discard an endless body. The client may continue to send for a moment, so that it
    can read the reason.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._receive, self._send = receive, send
        self._awaited = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._unread = False
        self.status: int | None = None

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._awaited = False
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._unread = message["status"], self._awaited
            headers = MutableHeaders(scope=message)
            for name, value in _SECURITY.items():
                headers.setdefault(name, value)
            if self._unread:
                headers["connection"] = "close"
        elif self._unread and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _linger(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while self._awaited:
                    await self.receive()


def _route(scope: Scope) -> str:
    """The path of the route, with {name} in place of a person's name."""
    return getattr(scope.get("route"), "path_format", "other")


def _report(error: Exception) -> None:
    """Log a bug; with a traceback only if FACEKD_TRACEBACK is set, because it may show what was sent."""
    asked = bool(os.environ.get("FACEKD_TRACEBACK"))
    LOG.error("internal error (%s)", type(error).__name__, exc_info=error if asked else None)
