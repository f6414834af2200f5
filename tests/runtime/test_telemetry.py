"""ONNX Runtime's own builds report their use to Microsoft: not from facekd."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tiny_model import write_tiny_model

PROGRAM = """
import os, sys, facekd
from facekd.runtime import open_session
open_session(sys.argv[1])
print(os.environ.get("ORT_DISABLE_TELEMETRY"))
"""


def run(model: Path, home: Path, **settings: str) -> str:
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **settings}
    command = [sys.executable, "-c", PROGRAM, str(model)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.strip()


def test_a_session_leaves_no_device_id_and_no_events(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    told = run(model, tmp_path / "home")
    assert list((tmp_path / "home").rglob("*")) == []
    assert told == "1"


def test_whoever_wants_it_is_left_alone(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    assert run(model, tmp_path / "home", ORT_DISABLE_TELEMETRY="0") == "0"
