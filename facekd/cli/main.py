"""The entry point: finds commands by their file, and maps every outcome to its exit code."""

from __future__ import annotations

import difflib
import importlib
import io
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from facekd.cli.options import add_quiet, quiet_option
from facekd.cli.output import answer_json, begin_call, has_answered, say_failure
from facekd.errors import Exit, FacekdError, Terminated
from facekd.version import __version__

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

#: modules in this folder that are not commands, besides those whose names begin with an underscore
_NOT_COMMANDS = {"main", "options", "output"}


#: names that other tools use, and facekd's own
_OTHER_WORDS = {
    "compare": "verify", "match": "verify", "add": "enroll", "register": "enroll",
    "delete": "gallery remove", "remove": "gallery remove", "list": "gallery list", "test": "evaluate",
    "detect": "align", "crop": "align", "quantize": "export --int8", "quantise": "export --int8",
    "robustness": "degrade", "search": "identify", "find": "identify", "recognise": "identify",
    "recognize": "identify",
    "check": "doctor", "diagnose": "doctor",
    "cross": "compatibility", "compatible": "compatibility",
}  # fmt: skip


class LazyGroup(click.Group):
    """A group whose commands are the files of this folder, imported when they are run.

    ``align.py`` holds ``command``, and ``evaluate_scores.py`` that of ``evaluate-scores``. The help beside a
    name is the first sentence of the file's doc string, so that ``--help`` imports no command.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        stems = (path.stem for path in Path(__file__).parent.glob("*.py"))
        return sorted(
            stem.replace("_", "-") for stem in stems if not stem.startswith("_") and stem not in _NOT_COMMANDS
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = importlib.import_module(f"facekd.cli.{_module(cmd_name)}").command
        _equip(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = not args or args[0].startswith("-") or args[0] in self.list_commands(ctx)
        if not known and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            meant = _OTHER_WORDS.get(args[0].lower()) or (near[0] if near else None)
            hint = f" Did you mean '{meant}'?" if meant else " See 'facekd --help'."
            raise click.UsageError(f"No such command '{args[0]}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _headline(name)) for name in self.list_commands(ctx)])


def _module(command: str) -> str:
    return command.replace("-", "_")


def _headline(name: str) -> str:
    source = Path(__file__).with_name(f"{_module(name)}.py").read_text(encoding="utf-8")
    return _first_sentence(source.split('"""', 2)[1])


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.strip().split("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".") + "."


def _equip(command: click.Command) -> None:
    """Add to ``command``, and to its subcommands, what every command has."""
    add_quiet(command)
    if command.help:
        # click would truncate it
        command.short_help = _first_sentence(command.help)
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _equip(inner)


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="facekd")
@quiet_option
def group() -> None:
    """Distil a large face recogniser into a small one, prove how good it is, and put it to work.

    \b
    Exit codes: 0 done or same person, 1 different person or nobody found, 2 usage error (also: no
    threshold, name not enrolled), 3 no answer possible (no face, several faces, poor quality),
    4 model and gallery incompatible, 5 I/O error, 70 internal error, 130 interrupted, 143 terminated.
    """


def main(arguments: list[str] | None = None) -> int:
    """Run facekd's command line and return its exit code."""
    return run(group, arguments, "facekd")


def run(command: click.Command, arguments: list[str] | None = None, name: str | None = None) -> int:
    """Run ``command`` under ``name`` (that of the script, unless given) and return its exit code.

    click and Python both end with 1 on a failure; 1 means "different person" here, so nothing is
    left to their defaults: a command returns its own code (`None` is 0), and every exception is
    caught and mapped to one.
    """
    name = name or Path(sys.argv[0]).stem
    begin_call()
    _prepare_streams()
    try:
        outcome = command.main(args=arguments, prog_name=name, standalone_mode=False)
        sys.stdout.flush()
        return int(outcome) if isinstance(outcome, int) else Exit.DONE
    except click.exceptions.Exit as stop:
        return Exit.DONE if stop.exit_code == 0 else Exit.USAGE
    except SystemExit as stop:
        # 0: click completed a line for the shell; 1: the reader of stdout is gone, which must not be taken
        # for "different person"
        return _nobody_reads() if stop.code else Exit.DONE
    except BrokenPipeError:
        return _nobody_reads()
    except BaseException as error:
        failed = _failed(error)
    try:
        failed.tell(name, as_json="--json" in (sys.argv[1:] if arguments is None else arguments))
    except BrokenPipeError:
        return _nobody_reads()
    except OSError:  # e.g. stdout or stderr is on a full disk: Python would end with 1, or with 120 at exit
        _discard_output()
    return failed.exit_code


@dataclass(frozen=True)
class _Failed:
    """How a command ended without an answer."""

    exit_code: Exit
    reason: str
    message: str
    fix: str | None = None

    def tell(self, name: str, as_json: bool) -> None:
        """Print it on stderr, after the command's ``name``, and, with ``as_json``, as a document on stdout
        unless that holds one."""
        # a group that is called without a command prints its help
        say_failure(self.message if self.message.startswith("Usage:") else f"{name}: {self.message}")
        if self.fix:
            say_failure(self.fix)
        if as_json and not has_answered():
            failure = {"reason": self.reason, "message": self.message, "fix": self.fix}
            answer_json({"schema": "failure/1", "failure": failure}, indent=None)


def _nobody_reads() -> Exit:
    """The reader of stdout is gone: no decision, and no traceback."""
    _discard_output()
    return Exit.IO


def _discard_output() -> None:
    """Send everything still to be written, including what Python flushes at exit, to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)


def _prepare_streams() -> None:
    """Replace streams that the caller closed (``>&-``) by the null device, and escape characters that the
    encoding of stdout lacks instead of failing."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _failed(error: BaseException) -> _Failed:
    """The exit code, reason and message of an exception that ended a command."""
    match error:
        case click.FileError():
            return _Failed(Exit.IO, "io", error.format_message())
        case click.UsageError():
            return _Failed(Exit.USAGE, "usage", error.format_message(), _way_out(error))
        case click.ClickException():
            return _Failed(Exit.USAGE, "usage", error.format_message())
        case Terminated():
            return _Failed(Exit.TERMINATED, "terminated", "terminated")
        case click.Abort() if isinstance(error.__cause__, Terminated):
            return _Failed(Exit.TERMINATED, "terminated", "terminated")
        case click.Abort() | KeyboardInterrupt():
            return _Failed(Exit.INTERRUPTED, "interrupted", "interrupted")
        case FacekdError():
            return _Failed(error.exit_code, error.reason, error.cause, error.fix)
        case ModuleNotFoundError():
            return _missing_module(error)
        case MemoryError():
            return _Failed(Exit.IO, "out_of_memory", "there is not enough memory to do this")
        case OSError():
            return _Failed(Exit.IO, "io", str(error))
        case Exception():
            return _internal(error)
    raise error


def _way_out(error: click.UsageError) -> str | None:
    """What to try after a usage error."""
    context = error.ctx
    if context is None or error.format_message().startswith("Usage:"):
        return None
    fix = f"Try '{context.command_path} --help' for help."
    if isinstance(error, click.NoSuchOption) and error.option_name in ("-m", "--model"):
        places = [p.make_metavar(context) for p in context.command.params if isinstance(p, click.Argument)]
        if "MODEL" in "".join(places):
            return f"The model is an argument here: {context.command_path} {' '.join(places)}\n{fix}"
    unexpected = re.match(r"Got unexpected extra arguments? \((.+)\)", error.format_message())
    takes_gallery = any("--gallery" in option.opts for option in context.command.params)
    if unexpected and takes_gallery and Path(unexpected[1]).is_file():
        return f"The gallery is an option here: {context.command_path} --gallery {unexpected[1]}\n{fix}"
    return fix


#: the extra that installs a module, if it is not `train`
_EXTRA_OF = {
    "timm": "teachers", "cryptography": "encryption",
    "fastapi": "service", "prometheus_client": "service", "python_multipart": "service",
    "starlette": "service", "uvicorn": "service",
}  # fmt: skip


def _missing_module(error: ModuleNotFoundError) -> _Failed:
    needs_training = {"torch", "torchvision", "facenet_pytorch", "lightning_fabric", "onnxscript"}
    root = (error.name or "").partition(".")[0]
    if root in needs_training | {"safetensors", "tomli_w", "filelock"} | _EXTRA_OF.keys():
        fix = f"Install it with: pip install 'facekd[{_EXTRA_OF.get(root, 'train')}]'"
        return _Failed(Exit.USAGE, "not_installed", f"this needs {root}, which is not installed", fix)
    return _internal(error)


def _internal(error: Exception) -> _Failed:
    fix = "Run it again with FACEKD_TRACEBACK=1 for a traceback, and please report it."
    if os.environ.get("FACEKD_TRACEBACK"):
        import traceback

        traceback.print_exception(error)
        fix = "Please report it."
    return _Failed(Exit.INTERNAL, "internal", f"internal error ({type(error).__name__}: {error})", fix)
