"""Serve a gallery over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import (
    EXISTING_FILE,
    any_quality_option,
    audit_option,
    detector_option,
    device_option,
    gallery_option,
    json_option,
    operators_model_option,
    threshold_option,
)
from facekd.cli.output import answer_json
from facekd.errors import Exit

if TYPE_CHECKING:
    from facekd.gallery import Place


@click.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True,
    help="Port to listen on; 0 picks a free one.",
)  # fmt: skip
@click.option(
    "--tokens", type=EXISTING_FILE, default=None,
    help="File with a line name:sha256 per access token; required if other machines can reach --host.",
)  # fmt: skip
@click.option(
    "--max-upload", type=click.IntRange(1), default=16_000_000, show_default=True,
    help="Largest request, in bytes.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(1, 256), default=2, show_default=True,
    help="Requests processed at the same time.",
)  # fmt: skip
@click.option(
    "--queue", type=click.IntRange(0, 10_000), default=16, show_default=True,
    help="Requests that may wait; any more are answered with 429 (busy).",
)  # fmt: skip
@threshold_option("fmr")
@operators_model_option
@gallery_option
@audit_option
@any_quality_option
@detector_option
@device_option
@json_option
def command(
    host: str,
    port: int,
    tokens: Path | None,
    max_upload: int,
    workers: int,
    queue: int,
    threshold: float | None,
    model: Path,
    gallery: Place,
    audit_reads: bool,
    any_quality: bool,
    detector: str,
    device: str,
    as_json: bool,
) -> int:
    """Serve a gallery over HTTP.

    Other programs enroll, verify and identify people with HTTP requests; /openapi.json describes these, and
    the answers are the documents that --json prints. The gallery is created if it does not exist. Any address
    but a loopback one needs --tokens. There is no TLS: put a reverse proxy in front. After SIGTERM or Ctrl-C,
    accepted requests are finished; the exit code is 0, or 143 if one of them took too long. Needs the extra
    "service".

    \b
    Example: facekd serve --gallery staff.db
             facekd serve --gallery staff.db --host 0.0.0.0 --tokens tokens.txt
    """
    from facekd.service import ServiceSettings, read_tokens, run_service
    from facekd.workflows import Recognizer

    settings = ServiceSettings(
        gallery=gallery, host=host, port=port, tokens=read_tokens(tokens) if tokens else (),
        max_upload=max_upload, workers=workers, queue=queue, audit_reads=audit_reads,
    )  # fmt: skip
    import uvicorn  # noqa: F401 - if it is not installed, fail before a model is loaded

    recognizer = Recognizer(
        model, detector=detector, threshold=threshold, any_quality=any_quality, device=device
    )
    ended: Exit = run_service(recognizer, settings)
    if as_json:
        answer_json({"stopped": True, "finished": ended == Exit.DONE})
    return ended
