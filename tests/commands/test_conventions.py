"""The commands agree: one thing has one name, and one name means one thing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator

import click
import pytest

from facekd.cli.main import group
from facekd.cli.options import ModelFile

SHORT = {"-m": "--model", "-g": "--gallery", "-d": "--detector", "-q": "--quiet"}
#: options that mean the same wherever they are
SAME = {"--gallery", "--detector", "--device", "--json", "--plot", "--report", "--csv", "--quiet"}


def _commands(within: click.Group = group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(within)
    for name in within.list_commands(context):
        command = within.get_command(context, name)
        assert command is not None
        yield f"{path}{name}", command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path}{name} ")


COMMANDS = dict(_commands())
OPTIONS = [
    (path, option)
    for path, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
]


def _long(option: click.Option) -> str:
    return next(name for name in option.opts if name.startswith("--"))


def _help(command: click.Command, option: click.Option) -> str:
    record = option.get_help_record(click.Context(command))
    assert record is not None, f"{option.opts} is hidden: old spellings stand in cli/_old_spellings.py"
    return record[1]


def test_there_are_commands() -> None:
    assert {"evaluate", "evaluate-scores", "compatibility", "gallery evaluate", "verify"} <= set(COMMANDS)


def test_a_picture_is_a_plot_and_a_page_a_report() -> None:
    """But for photos that are drawn on."""
    for path, option in OPTIONS:
        told = _help(COMMANDS[path], option)
        pictures = {"--plot", "--annotate"}
        assert (".png" in told) == (_long(option) in pictures), f"{path} {_long(option)}: {told}"
        assert (".html" in told) == (_long(option) == "--report"), f"{path} {_long(option)}: {told}"


def test_a_short_flag_stands_for_one_option_and_that_option_has_it_everywhere() -> None:
    for path, option in OPTIONS:
        short = [name for name in option.opts if not name.startswith("--")]
        expected = [flag for flag, name in SHORT.items() if name == _long(option)]
        assert short == expected, f"{path} {option.opts}"


def test_options_that_mean_the_same_say_the_same() -> None:
    told = defaultdict(set)
    for path, option in OPTIONS:
        if _long(option) in SAME:
            told[_long(option)].add(_help(COMMANDS[path], option))
    assert set(told) == SAME
    assert {name: helps for name, helps in told.items() if len(helps) > 1} == {}


def test_models_are_arguments_where_they_are_measured_and_options_where_people_are_handled() -> None:
    for path, command in COMMANDS.items():
        models = [param for param in command.params if isinstance(param.type, ModelFile)]
        assert all("--model" in p.opts for p in models if isinstance(p, click.Option)), path
        handles_people = any("--gallery" in param.opts for param in command.params)
        if handles_people:
            assert not any(isinstance(param, click.Argument) for param in models), path
    for path in ("evaluate", "compatibility", "degrade", "benchmark", "calibrate", "card"):
        params = COMMANDS[path].params
        assert any(isinstance(p, click.Argument) and isinstance(p.type, ModelFile) for p in params), path


def test_every_command_takes_quiet_once() -> None:
    for path, command in [*COMMANDS.items(), ("facekd", group)]:
        assert [p.opts for p in command.params].count(["-q", "--quiet"]) == 1, path


def test_every_command_is_told_in_a_whole_sentence(facekd: Callable) -> None:
    for path, command in COMMANDS.items():
        told = command.get_short_help_str(limit=20)
        assert told[0].isupper(), path
        assert told.endswith("."), path
        assert not told.endswith(".."), path
    listed = facekd("--help").out.partition("Commands:\n")[2]
    for name in group.list_commands(click.Context(group)):
        line = next(line for line in listed.splitlines() if line.split()[:1] == [name])
        assert line.split()[1][0].isupper()
    assert "..." not in listed


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("facekd evaluate", {"evaluate", "evaluate-scores"}),
        ("facekd gallery ev", {"evaluate"}),
        ("facekd evaluate --pl", {"--plot"}),
        ("facekd evaluate --protocol cf", {"cfp-ff", "cfp-fp"}),
        ("facekd compatibility a b --protocol i", set()),
        ("facekd verify -d m", {"mtcnn"}),
        ("facekd recipe show student", {"student"}),
        ("facekd gallry li", set()),
    ],
)
def test_the_shell_completes(words: str, offered: set[str]) -> None:
    environment = os.environ | {
        "_FACEKD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")),
    }  # fmt: skip
    code = "from facekd.cli.main import main; raise SystemExit(main())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert {line.partition(",")[2] for line in ran.stdout.split()} == offered
