"""What pages show is there: every command with its options, every linked file."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from shown_commands import PAGES, ROOT, commands_in, links_in, words_of

from facekd.cli.main import group

HELP = {"-h", "--help", "--version"}


def fault_of(call: str) -> str | None:
    """What is wrong with a shown call: a command that is not there, or an option that it does not have."""
    command: click.Command = group
    words = words_of(call)
    while isinstance(command, click.Group):
        if not words or words[0].isupper() or words[0] in HELP:
            return None
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return f"no command '{words[0]}'"
        command, words = found, words[1:]
    known = HELP.union(*((*p.opts, *p.secondary_opts) for p in command.params))
    given = [word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return next((f"no option {option}" for option in given if option not in known), None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_is_there(page: Path) -> None:
    faults = {call: fault for call in commands_in(page) if (fault := fault_of(call))}
    assert not faults


def test_the_check_finds_what_is_wrong() -> None:
    assert fault_of("facekd verfy a.jpg b.jpg") == "no command 'verfy'"
    assert fault_of("facekd verify a.jpg b.jpg --claims Ann") == "no option --claims"
    assert fault_of("facekd gallery lst") == "no command 'lst'"
    assert fault_of('facekd verify --claim "Ann Lee" door.jpg --json') is None


def test_commands_are_found_wherever_they_are_shown(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Run `facekd align a b` first.\n\n    facekd card m.onnx   # a note\n\n"
        "```sh\ntaskset -c 0 x\nfacekd export runs/a \\\n    --int8 && facekd card y > z.txt\n```\n"
    )
    calls = [" ".join(words_of(call)) for call in commands_in(page)]
    assert sorted(calls) == ["align a b", "card m.onnx", "card y", "export runs/a --int8"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_linked_file_is_there(page: Path) -> None:
    files = {link.split("#")[0] for link in links_in(page)} - {""}
    assert not [file for file in sorted(files) if not (page.parent / file).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_tool_that_is_named_is_there(page: Path) -> None:
    tools = set(re.findall(r"\btools/\w+\.(?:py|toml)\b", page.read_text(encoding="utf-8")))
    assert not [tool for tool in sorted(tools) if not (ROOT / tool).is_file()]
