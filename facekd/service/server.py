"""Run the service until it is stopped."""

from __future__ import annotations

import logging
import signal
import sys
from typing import TYPE_CHECKING

from facekd.errors import Exit, InputOutput
from facekd.service.settings import ServiceSettings
from facekd.workflows import Recognizer

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp


def run_service(recognizer: Recognizer, settings: ServiceSettings) -> Exit:
    """Serve until SIGTERM or Ctrl-C, then finish the accepted requests. Returns `DONE`, or `TERMINATED`
    if they took longer than ``grace_seconds``.

    Raises `Misfit`, `InputOutput` or `Unreadable` if the gallery cannot be used, `InputOutput` if the port
    is taken.
    """
    from facekd.service.app import make_app
    from facekd.service.work import Work

    work = Work(recognizer, settings.gallery, settings.audit_reads)
    work.prepare()
    made = make_app(work, settings)
    _log_to_stderr()
    # when it has finished, uvicorn raises the signal that stopped it again
    before = {number: signal.signal(number, _heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server = server_of(made.app, settings)
        with server.config.bind_socket() as listening:
            # connections made from here on are answered as soon as the loop runs
            listening.listen(128)
            host, port = listening.getsockname()[:2]
            logging.getLogger("facekd.service").info("listening on http://%s:%s", host, port)
            server.run([listening])
    except SystemExit as error:
        raise InputOutput(f"{settings.host}:{settings.port}: cannot listen on this address") from error
    finally:
        made.admission.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    return Exit.TERMINATED if made.admission.cut_short else Exit.DONE


def server_of(app: ASGIApp, settings: ServiceSettings) -> uvicorn.Server:
    """A server that runs ``app``."""
    import uvicorn

    from facekd.service.connections import impatient

    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.host.strip("[]"),
            port=settings.port,
            http=impatient(settings.head_seconds),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=round(settings.grace_seconds),
        )
    )


def _heard(number: int, frame: object) -> None:
    """Ignore the signal that uvicorn raises after it has shut down."""


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("facekd.service", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
