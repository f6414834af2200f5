"""Write the reference of the command line, docs/cli.md, from the output of --help.

python tools/write_cli_page.py

What stands above the page's mark is written by hand and stays; all below it is written anew. Lines are of one
width, whatever terminal this runs in.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from facekd.cli import run
from facekd.cli.main import group
from facekd.files import write_atomically

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
MARK = "<!-- Written by tools/write_cli_page.py from here on. -->\n"
WIDTH = 100


def page(before: str) -> str:
    """The page with the head that it has in ``before``."""
    head, mark, _ = before.partition(MARK)
    if not mark:
        raise click.UsageError(f"{PAGE.name} lacks the line that ends its head: {MARK.strip()}")
    return head + mark + "".join(_sections())


def _sections() -> Iterator[str]:
    root = click.Context(group, info_name="facekd", terminal_width=WIDTH, **group.context_settings)
    yield _section(root)
    for context in _within(root):
        yield _section(context)


def _within(context: click.Context) -> Iterator[click.Context]:
    """The commands of a group, and those in them, in the order of its help."""
    assert isinstance(context.command, click.Group)
    for name in context.command.list_commands(context):
        command = context.command.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context, terminal_width=WIDTH)
        yield inner
        if isinstance(command, click.Group):
            yield from _within(inner)


def _section(context: click.Context) -> str:
    level = max(2, len(context.command_path.split()))
    told = "\n".join(line.rstrip() for line in context.get_help().splitlines())
    return f"\n{'#' * level} {context.command_path}\n\n```text\n{told}\n```\n"


@click.command()
def main() -> None:
    """Bring docs/cli.md up to date."""
    write_atomically(PAGE, page(PAGE.read_text(encoding="utf-8")).encode())
    click.echo(PAGE)


if __name__ == "__main__":
    raise SystemExit(run(main))
