"""How the tools answer bad input: a sentence and the command line's exit code, never a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from facekd.cli import run
from facekd.errors import Exit, Unreadable

TOOLS = Path(__file__).parents[2] / "tools"
#: these begin without facekd: two only start other processes, one measures the installation of facekd, one
#: computes sizes
ON_THEIR_OWN = {"check_install.py", "drill.py", "fuzz.py", "size_indexes.py"}


def _call(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_every_tool_is_run_as_a_command_of_facekd_is() -> None:
    commands = {path.name: path.read_text(encoding="utf-8") for path in TOOLS.glob("*.py")}
    scripts = {name for name, text in commands.items() if "@click." in text and "__main__" in text}
    run_alike = {name for name in scripts if "raise SystemExit(run(" in commands[name]}
    assert scripts - run_alike == ON_THEIR_OWN


def test_a_file_of_another_kind_is_named_in_a_sentence(tmp_path: Path) -> None:
    kept = tmp_path / "leg.safetensors"
    kept.write_bytes(b"these are no weights")
    told = _call(TOOLS / "keep_weights.py", "unpack", kept, tmp_path / "out.safetensors")
    assert told.returncode == Unreadable.exit_code
    assert told.stderr.startswith(f"keep_weights: {kept}: not a safetensors file")
    assert len(told.stderr.splitlines()) == 1
    assert not (tmp_path / "out.safetensors").exists()


def test_a_misspelt_option_is_a_usage_error() -> None:
    told = _call(TOOLS / "keep_weights.py", "pack", "--wich", "last")
    assert told.returncode == Exit.USAGE
    assert told.stderr.startswith("keep_weights: No such option")


@pytest.mark.parametrize(("given", "code"), [(None, 0), (0, 0), (1, 1)])
def test_a_command_returns_its_own_code(given: int | None, code: int) -> None:
    @click.command()
    def command() -> int | None:
        return given

    assert run(command, [], "drill") == code


def test_a_failure_is_told_under_the_tools_own_name(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    def command() -> None:
        raise Unreadable("faces.zip: not a zip")

    assert run(command, [], "measure_faces") == Unreadable.exit_code
    assert capsys.readouterr().err == "measure_faces: faces.zip: not a zip\n"
