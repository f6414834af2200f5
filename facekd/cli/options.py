"""Options that mean the same on every command, defined once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from facekd.cli._defaults import (
    gallery_of_claim,
    gallery_or_default,
    model_or_setting,
    model_or_shipped,
    or_setting,
)
from facekd.cli.output import be_quiet

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class ModelFile(click.Path):
    """A model's file that must exist; of a missing one it is said where models come from."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, readable=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not Path(value).exists():
            self.fail(f"File '{value}' does not exist. {_models_come_from()}", param, ctx)
        return super().convert(value, param, ctx)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return _models_come_from()


def _models_come_from() -> str:
    from facekd.card import MODELS_COME_FROM

    return f"A model is an ONNX file: {MODELS_COME_FROM}"


#: a file that must exist; a missing one is a usage error that names it. Whether it can be read is for whoever
#: reads it to say: that is no mistake in the call
EXISTING_FILE = click.Path(exists=True, dir_okay=False, readable=False, path_type=Path)
#: a file or folder that must exist
EXISTING = click.Path(exists=True, readable=False, path_type=Path)
#: an ONNX file, or a TOML file that lists several, that must exist
MODEL_FILE = ModelFile()
#: a path that may not exist yet
ANY_PATH = click.Path(readable=False, path_type=Path)


class CommandsGroup(click.Group):
    """A group that lists its commands by their whole first sentences, which click would cut short."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_sentence(command)) for name, command in commands.items()])


def _first_sentence(command: click.Command | None) -> str:
    paragraph = (command.help if command and command.help else "").split("\n\n")[0]
    return re.split(r"\.(?:\s|$)", " ".join(paragraph.split()), maxsplit=1)[0]


class Number(click.FloatRange):
    """A number in a range; of a decimal comma it is said how to write it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d*,\d+(e[-+]?\d+)?", value, re.IGNORECASE):
            self.fail(f"'{value}': write a decimal point: {value.replace(',', '.')}", param, ctx)
        return super().convert(value, param, ctx)


def _operators_model(**settings: Any) -> Decorator:
    return click.option(
        "-m", "--model", type=MODEL_FILE, envvar="FACEKD_MODEL", show_envvar=True,
        help="ONNX model, or a TOML file that lists several [default: the student that ships].", **settings,
    )  # fmt: skip


#: of commands that recognise people: none need be named where one comes along
operators_model_option: Decorator = _operators_model(callback=model_or_shipped)
#: where the student that ships is a default only for galleries of its own
galleries_model_option: Decorator = _operators_model(callback=model_or_setting)


def _gallery(callback: Callable[[click.Context, click.Parameter, Path | None], Path | None]) -> Decorator:
    return click.option(
        "-g", "--gallery", type=ANY_PATH, default=None, envvar="FACEKD_GALLERY", show_envvar=True,
        help="Gallery file [default: gallery.db in the user's data folder].", callback=callback,
    )  # fmt: skip


gallery_option: Decorator = _gallery(gallery_or_default)
#: of a command that needs a gallery for --claim only
claims_gallery_option: Decorator = _gallery(gallery_of_claim)


class RegistryOption(click.Option):
    """An option whose help a registry gives when help is asked for: its folder is listed then, and not
    whenever a command is loaded."""

    def __init__(self, *names: Any, told: Callable[[], str], **settings: Any) -> None:
        super().__init__(*names, **settings)
        self._told = told

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        self.help = self._told()
        return super().get_help_record(ctx)


class RegisteredName(click.ParamType):
    """A name that a registry knows, which the shell completes; whoever looks it up refuses another."""

    name = "name"

    def __init__(self, names: Callable[[], Sequence[str]]) -> None:
        self._names = names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self._names() if name.startswith(incomplete)]


def _detectors() -> str:
    from facekd.preprocess.detectors import detector_help

    return f"{detector_help()}."


def _detector_names() -> list[str]:
    from facekd.preprocess.detectors import detector_names

    return detector_names()


def _protocols(pairs_of_photos: bool) -> str:
    from facekd.verification.protocols import protocol_help

    return protocol_help(pairs_of_photos)


def _protocol_names(pairs_of_photos: bool) -> list[str]:
    from facekd.verification.protocols import protocol_names

    return protocol_names(pairs_of_photos)


detector_option: Decorator = click.option(
    "-d", "--detector", type=RegisteredName(_detector_names), default="mtcnn", envvar="FACEKD_DETECTOR",
    show_default=True, show_envvar=True, metavar="NAME[:FILE]", cls=RegistryOption, told=_detectors,
    callback=or_setting("detector"),
)  # fmt: skip


def protocol_option(pairs_of_photos: bool = False) -> Decorator:
    """``--protocol``; ``pairs_of_photos`` for commands that take no other kind."""
    return click.option(
        "--protocol", type=RegisteredName(lambda: _protocol_names(pairs_of_photos)), default=None,
        metavar="NAME", cls=RegistryOption, told=lambda: _protocols(pairs_of_photos),
    )  # fmt: skip


photos_option: Decorator = click.option(
    "--data", type=EXISTING, required=True, help="Folder or pack of photos (or of aligned crops)."
)

pairs_option: Decorator = click.option("--pairs", type=EXISTING, default=None, help="The protocol's list.")

aligned_option: Decorator = click.option(
    "--aligned", is_flag=True, help="The data holds finished 112-pixel ArcFace crops."
)

flip_option: Decorator = click.option(
    "--flip", is_flag=True, help="Add the embedding of each crop's mirror image to the crop's."
)

without_option: Decorator = click.option(
    "--without", type=EXISTING_FILE, default=None, help="Leave out the persons in this file, one a line."
)

plot_option: Decorator = click.option(
    "--plot", type=ANY_PATH, default=None, help="Draw the result into this picture (.png, .svg, .pdf)."
)

report_option: Decorator = click.option(
    "--report", type=ANY_PATH, default=None, help="Write a page of all of it here (.html)."
)

csv_option: Decorator = click.option(
    "--csv", "table", type=ANY_PATH, default=None, help="Write every number: model,measure,value."
)

annotate_option: Decorator = click.option(
    "--annotate", type=ANY_PATH, default=None, metavar="FILE",
    help="Draw the photos with boxes, landmarks, crops and the answer into this picture (.jpg, .png, .webp).",
)  # fmt: skip

any_quality_option: Decorator = click.option(
    "--any-quality", is_flag=True, help="Take photos beyond the limits in the model's card, too."
)


def threshold_option(rival: str) -> Decorator:
    """``--threshold``; ``rival`` is the command's other option that sets it, by a rate."""
    return click.option(
        "--threshold", type=Number(-1, 1), default=None, callback=or_setting("threshold", rival),
        help="Score from which two faces are the same person; else the model's calibration.",
    )  # fmt: skip


_RUN_OPTIONS = (
    click.option("--run", "folder", type=ANY_PATH, default=None, help="Run folder [default: runs/RECIPE]."),
    click.option(
        "--images", type=click.IntRange(1), default=None, help="Images to see, instead of the recipe's."
    ),
    click.option("--seed", type=click.IntRange(0), default=None, help="Seed, instead of the recipe's."),
    click.option("--resume", is_flag=True, help="Go on from the last checkpoint."),
    click.option("--force", is_flag=True, help="Replace a run of the same name."),
    click.option("--threads", type=click.IntRange(1), default=None, help="Threads for the network."),
    click.option(
        "--workers",
        type=click.IntRange(0),
        default=None,
        help="Processes that decode [default: a quarter of four or more processors].",
    ),
)


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of everything that trains."""
    for option in reversed(_RUN_OPTIONS):
        function = option(function)
    return function


root_option: Decorator = click.option(
    "--root", metavar="FOLDER", default=None,
    help="Folder in there that holds the people's folders; . where they lie at the top.",
)  # fmt: skip

device_option: Decorator = click.option(
    "--device", default="cpu", show_default=True, help="cpu or cuda; cuda fails if there is none."
)

json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)


def _hush(context: click.Context, option: click.Parameter, quiet: bool) -> None:
    if quiet:
        be_quiet()


_QUIET: dict[str, Any] = {
    "is_flag": True, "is_eager": True, "expose_value": False, "callback": _hush,
    "help": "Leave out progress and notes.",
}  # fmt: skip

quiet_option: Decorator = click.option("-q", "--quiet", **_QUIET)


def add_quiet(command: click.Command) -> None:
    """Let ``command`` take ``--quiet``, which all do."""
    if not any("--quiet" in option.opts for option in command.params):
        command.params.append(click.Option(["-q", "--quiet"], **_QUIET))
