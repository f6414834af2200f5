"""Runs the service until it is told to stop."""

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
    """Serve until SIGTERM or Ctrl-C; what was accepted by then is finished. `DONE`, or `TERMINATED` where
    ``grace_seconds`` were too few for that.

    Raises `Misfit`, `InputOutput` or `Unreadable` where the gallery cannot be used, `InputOutput` where the
    port is taken.
    """
    from facekd.service.app import make_app
    from facekd.service.work import Work

    work = Work(recognizer, settings.gallery, settings.audit_reads)
    work.prepare()
    made = make_app(work, settings)
    _log_to_stderr()
    # uvicorn raises the signal that stopped it once more when it has finished
    before = {number: signal.signal(number, _heard) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server = server_of(made.app, settings)
        with server.config.bind_socket() as listening:
            # whoever connects from here on is heard as soon as the loop runs
            listening.listen(128)
            host, port = listening.getsockname()[:2]
            logging.getLogger("facekd.service").info("listening on http://%s:%s", host, port)
            server.run([listening])
    except SystemExit as error:
        raise InputOutput(f"{settings.host}:{settings.port}: this address cannot be listened on") from error
    finally:
        made.admission.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    return Exit.TERMINATED if made.admission.cut_short else Exit.DONE


def server_of(app: ASGIApp, settings: ServiceSettings) -> uvicorn.Server:
    """What carries requests to ``app``."""
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
    """The end was asked for, and has come."""


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("facekd.service", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
