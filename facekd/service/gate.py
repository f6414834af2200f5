"""What every request passes, whatever it asks for: who asks, from which page, and what is told of it."""

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

#: what anybody may ask: whether it runs, and the page, which holds nothing
OPEN = {"/", "/healthz", "/readyz"}
_METHODS = {"GET", "HEAD", "POST", "DELETE", "OPTIONS", "PUT", "PATCH"}
#: how long a client may go on sending what nobody reads any more
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
    """Refuses requests without a known token, where there are tokens; without them the service is this
    machine's alone, and requests that a page from elsewhere makes a browser send are refused.

    Adds the security headers, counts, and writes a line of each request: without names of people, which stand
    in paths.
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
        """Who asks. Raises `Refused`."""
        headers = Headers(scope=scope)
        if not self._settings.tokens:
            _check_page(headers)
            return "local"
        name = bearer(self._settings.tokens, headers.get("authorization"))
        if name is None and scope["path"] not in OPEN:
            raise Refused(
                401, "token", "no token that is known here", "Send the header Authorization: Bearer TOKEN."
            )
        return name or "-"


def _check_page(headers: Headers) -> None:
    """Raise `Refused` for what a page from elsewhere asks: by a name of its own that it has led to this
    machine (DNS rebinding), or by this machine's (cross-site request forgery)."""
    host = headers.get("host", "")
    if len(headers.getlist("host")) != 1 or not is_loopback(_hostname(host)):
        raise Refused(403, "host", f"this service is not called {host[:100]!a}", "Ask for 127.0.0.1.")
    origin = headers.get("origin")
    foreign = origin is not None and origin.lower() != f"http://{host.lower()}"
    if foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Refused(403, "origin", "a page from elsewhere asked for this", "Use the page of the service.")


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


class _Exchange:
    """One request and its answer: adds the security headers, and knows the status.

    Where the answer comes before the whole body has, it is the last one of its connection: the server would
    read an endless body for ever, to throw it away. The client may go on sending for a moment, so that it
    gets to read why.
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
    """The route as it is written, with {name} for whoever it is."""
    return getattr(scope.get("route"), "path_format", "other")


def _report(error: Exception) -> None:
    """Tell whoever runs the service of a bug; how it came about only where that was asked for, since it may
    show what was sent."""
    asked = bool(os.environ.get("FACEKD_TRACEBACK"))
    LOG.error("internal error (%s)", type(error).__name__, exc_info=error if asked else None)
