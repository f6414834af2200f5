"""Fuzz the service with schemathesis, by its own OpenAPI document.

    python tools/fuzz_service.py --seconds 600 --schemathesis VENV/bin/schemathesis

Starts ``facekd serve`` with a token and an enrolled person, and lets schemathesis send requests that the
document allows and requests that it forbids: wrong types, missing and repeated fields, other methods, no
token, bytes that are not an image, names that are paths or SQL. There must be no answer that the document
does not describe, and no server error; the log must contain no traceback, memory must stay bounded, and the
service must be ready at the end and stop when told to. Exits with 1 if any of this fails.

Install schemathesis in an environment of its own (``pip install schemathesis``), because it would otherwise
be loaded into every run of pytest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import click
import httpx2
from load_service import peak, resident, running

from facekd.cli import run
from facekd.weights import shipped_model

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "data" / "samples"
HOOKS = "fuzz_service_photos"
TOKEN = "of the fuzzer"
#: a check that cannot hold: no document states whether a photo shows a face, or a person is enrolled
_BEYOND_THE_DOCUMENT = "positive_data_acceptance"
#: bytes by which memory may grow; the photos sent are small
_MORE_MEMORY = 100_000_000


def find_schemathesis() -> str | None:
    """schemathesis on the PATH, or beside this Python."""
    beside = Path(sys.executable).with_name("schemathesis")
    return shutil.which("schemathesis") or (str(beside) if beside.exists() else None)


def enroll(address: str, name: str, photos: list[Path]) -> None:
    files = [("photos", (path.name, path.read_bytes())) for path in photos]
    answer = httpx2.post(
        f"{address}/v1/people/{name}/photos", files=files, timeout=60,
        params={"on_many": "best"}, headers={"authorization": f"Bearer {TOKEN}"},
    )  # fmt: skip
    if answer.status_code != 200:
        raise click.ClickException(f"nobody could be enrolled: {answer.text}")


def fuzz(
    schemathesis: str, address: str, photos: Path, seconds: int, seed: int, folder: Path
) -> tuple[int, str]:
    """Run schemathesis; return the number of requests, and its output if it found something wrong."""
    command = [
        schemathesis, "--no-color", "run", f"{address}/openapi.json", "--checks", "all",
        "--exclude-checks", _BEYOND_THE_DOCUMENT, "--continue-on-failure", "--no-shrink",
        "--header", f"Authorization: Bearer {TOKEN}", "--max-time", seconds, "--seed", seed,
        "--generation-database", "none", "--request-timeout", 60,
    ]  # fmt: skip
    ran = subprocess.run(
        [str(part) for part in command], cwd=folder, capture_output=True, text=True,
        env=os.environ | {
            "SCHEMATHESIS_HOOKS": HOOKS, "FACEKD_FUZZ_PHOTOS": str(photos), "PYTHONPATH": str(ROOT / "tools"),
        },
    )  # fmt: skip
    told, cases = ran.stdout + ran.stderr, re.search(r"(\d+) generated", ran.stdout)
    return int(cases[1]) if cases else 0, "" if cases and ran.returncode == 0 else told


def statuses(address: str) -> dict[str, int]:
    """The service's own count of answers by status."""
    told = httpx2.get(f"{address}/metrics", headers={"authorization": f"Bearer {TOKEN}"}).text
    found = Counter[str]()
    for line in told.splitlines():
        if line.startswith("facekd_requests_total"):
            found[line.partition('status="')[2].partition('"')[0]] += round(float(line.split()[-1]))
    return dict(sorted(found.items()))


def fuzzed(
    schemathesis: str, model: Path, photos: Path, seconds: int, seed: int
) -> tuple[dict[str, Any], list[str]]:
    """The figures, and the faults found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokens = folder / "tokens"
        tokens.write_text(f"fuzzer:{hashlib.sha256(TOKEN.encode()).hexdigest()}\n")
        with running(model, folder, 2, 16, "--tokens", tokens) as (process, port):
            address = f"http://127.0.0.1:{port}"
            enroll(address, "Ann Lee", sorted(photos.rglob("*.jpg"))[:1])
            before = resident(process)
            cases, told = fuzz(schemathesis, address, photos, seconds, seed, folder)
            ready = httpx2.get(f"{address}/readyz", timeout=60).status_code
            most = peak(process)
            found = {
                "seed": seed, "seconds": seconds, "cases": cases, "statuses": statuses(address),
                "memory_before": before, "memory_after": resident(process), "memory_most": most,
                "ready": ready,
            }  # fmt: skip
        log = (folder / "log").read_text()
    wrong = [told] if told else []
    wrong += ["the log contains a traceback or an internal error"] * (
        "Traceback" in log or "internal error" in log
    )
    wrong += [f"it is not ready afterwards: {ready}"] * (ready != 200)
    wrong += ["its memory grew beyond the bound"] * (most > before + _MORE_MEMORY)
    return found, wrong


@click.command()
@click.option("--schemathesis", default=find_schemathesis, help="The executable; on the PATH by default.")
@click.option("--model", type=click.Path(exists=True, path_type=Path), default=shipped_model)
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=SAMPLES,
    help="JPEG files with one face each.",
)
@click.option("--seconds", type=click.IntRange(1, 86_400), default=600, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(schemathesis: str | None, model: Path | None, photos: Path, seconds: int, seed: int) -> int:
    """Fuzz the service and print what was found as JSON."""
    if schemathesis is None or model is None:
        raise click.UsageError("schemathesis is not on the PATH, or no model came with this facekd")
    found, wrong = fuzzed(schemathesis, model, photos, seconds, seed)
    click.echo(json.dumps(found | {"wrong": len(wrong)}, indent=2))
    for one in wrong:
        click.echo(one, err=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(run(main))
