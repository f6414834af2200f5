"""The entry point: finds commands by their file, and turns every ending into its exit code."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from pathlib import Path

import click

from facekd.errors import Exit, FacekdError
from facekd.version import __version__

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

#: modules in this folder that are not commands
_NOT_COMMANDS = {"__init__", "main", "options", "output"}


class LazyGroup(click.Group):
    """A group whose commands are the files of this folder, imported when they are run.

    ``align.py`` holds ``command``. The one-line help is the first line of the file's doc string,
    so that ``--help`` imports no command.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if p.stem not in _NOT_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"facekd.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean '{near[0]}'?" if near else " See 'facekd --help'."
            raise click.UsageError(f"No such command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _headline(name)) for name in self.list_commands(ctx)])


def _headline(name: str) -> str:
    source = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8")
    return source.split('"""', 2)[1].strip().splitlines()[0].rstrip(".")


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="facekd")
def group() -> None:
    """Distil a large face recogniser into a small one, prove how good it is, put it to work.

    \b
    Exit codes: 0 done or same person, 1 different person, 2 usage (also: no threshold known,
    nobody of that name), 3 cannot say (no face, several faces, quality), 4 model and gallery
    do not fit, 5 input or output failed, 70 internal error, 130 interrupted.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    click and Python both end with 1 on a failure; 1 means "different person" here, so nothing is
    left to their defaults: a command returns its own code (`None` is 0), everything else is
    caught and named.
    """
    try:
        outcome = group.main(args=arguments, prog_name="facekd", standalone_mode=False)
        sys.stdout.flush()
        return int(outcome) if isinstance(outcome, int) else Exit.DONE
    except click.exceptions.Exit as stop:
        return Exit.DONE if stop.exit_code == 0 else Exit.USAGE
    except click.ClickException as error:
        error.show(sys.stderr)
        return Exit.IO if isinstance(error, click.FileError) else Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("facekd: interrupted", err=True)
        return Exit.INTERRUPTED
    except FacekdError as error:
        click.echo(f"facekd: {error.cause}", err=True)
        if error.fix:
            click.echo(error.fix, err=True)
        return error.exit_code
    except BrokenPipeError:
        # the reader of our output went away: not a decision, and not worth a traceback
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.IO
    except ModuleNotFoundError as error:
        return _missing_module(error)
    except OSError as error:
        click.echo(f"facekd: {error}", err=True)
        return Exit.IO
    except Exception as error:
        return _internal(error)


def _missing_module(error: ModuleNotFoundError) -> int:
    needs_training = {"torch", "torchvision", "facenet_pytorch", "lightning_fabric", "onnxscript"}
    root = (error.name or "").partition(".")[0]
    if root in needs_training | {"sklearn", "timm", "safetensors"}:
        extra = "teachers" if root == "timm" else "train"
        click.echo(f"facekd: this needs {root}, which is not installed", err=True)
        click.echo(f"Install it with: pip install 'facekd[{extra}]'", err=True)
        return Exit.USAGE
    return _internal(error)


def _internal(error: Exception) -> int:
    click.echo(f"facekd: internal error ({type(error).__name__}: {error})", err=True)
    if os.environ.get("FACEKD_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
    else:
        click.echo("Set FACEKD_TRACEBACK=1 and run it again to see where; please report it.", err=True)
    return Exit.INTERNAL
