"""The reference of the command line is what --help says."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from write_cli_page import MARK, PAGE, page

from facekd.cli.main import group


def test_the_page_is_up_to_date() -> None:
    stored = PAGE.read_text(encoding="utf-8")
    assert page(stored) == stored, "run: python tools/write_cli_page.py"


def test_it_is_the_same_on_every_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = PAGE.read_text(encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("FACEKD_DETECTOR", "scrfd:mine.onnx")
    assert page(stored) == stored
    assert max(map(len, stored.partition(MARK)[2].splitlines())) <= 100


def test_it_has_every_command_and_keeps_its_head() -> None:
    written = page(f"# Mine\n\n{MARK}old")
    assert written.startswith(f"# Mine\n\n{MARK}\n## facekd\n")
    assert "old" not in written.splitlines()
    for name in group.list_commands(click.Context(group)):
        assert f"\n## facekd {name}\n" in written
    assert "\n### facekd gallery evaluate\n" in written


def test_a_page_without_a_mark_is_not_overwritten() -> None:
    with pytest.raises(click.UsageError, match="lacks the line"):
        page("# Mine\n")
