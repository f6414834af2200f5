"""Options that mean the same on every command, defined once."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from facekd.cli._defaults import (
    audit_of_claim,
    gallery_of_claim,
    gallery_or_default,
    model_or_setting,
    model_or_shipped,
    or_setting,
    use_key,
)
from facekd.cli.output import be_quiet

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class ModelFile(click.Path):
    """A model file that must exist; the error for a missing one says where models come from."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, readable=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        completing = ctx is not None and ctx.resilient_parsing
        if not Path(value).exists() and not completing:
            self.fail(f"File '{value}' does not exist. {_models_come_from()}", param, ctx)
        return super().convert(value, param, ctx)

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return _models_come_from()


def _models_come_from() -> str:
    from facekd.card import MODELS_COME_FROM

    return f"A model is an ONNX file: {MODELS_COME_FROM}"


#: a file that must exist; a missing one is a usage error that names it. Whether it can be read is checked
#: where it is read: failing to read it is not a usage error
EXISTING_FILE = click.Path(exists=True, dir_okay=False, readable=False, path_type=Path)
#: a file or folder that must exist
EXISTING = click.Path(exists=True, readable=False, path_type=Path)
#: an ONNX file, or a TOML file that lists several, that must exist
MODEL_FILE = ModelFile()
#: a path that may not exist yet
ANY_PATH = click.Path(readable=False, path_type=Path)


class GalleryPlace(click.Path):
    """A gallery's file, or the URL of its database."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from facekd.gallery import gallery_place

        place = gallery_place(value)
        return super().convert(value, param, ctx) if isinstance(place, Path) else place


class CommandsGroup(click.Group):
    """A group that lists its commands by their complete first sentences, which click would truncate."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_sentence(command)) for name, command in commands.items()])


def _first_sentence(command: click.Command | None) -> str:
    paragraph = (command.help if command and command.help else "").split("\n\n")[0]
    return re.split(r"\.(?:\s|$)", " ".join(paragraph.split()), maxsplit=1)[0]


class Number(click.FloatRange):
    """A number in a range; the error for a decimal comma shows how to write it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and re.fullmatch(r"[-+]?\d*,\d+(e[-+]?\d+)?", value, re.IGNORECASE):
            self.fail(f"'{value}': write a decimal point: {value.replace(',', '.')}", param, ctx)
        return super().convert(value, param, ctx)


def _operators_model(**settings: Any) -> Decorator:
    return click.option(
        "-m", "--model", type=MODEL_FILE, envvar="FACEKD_MODEL", show_envvar=True,
        help="ONNX model, or a TOML file that lists several [default: the shipped student].", **settings,
    )  # fmt: skip


#: for commands that recognise people: the shipped student is the default
operators_model_option: Decorator = _operators_model(callback=model_or_shipped)
#: where the shipped student is the default only for galleries enrolled with it
galleries_model_option: Decorator = _operators_model(callback=model_or_setting)


GALLERY_PLACE = GalleryPlace(readable=False, path_type=Path)


def _gallery_place(callback: Callable[[click.Context, click.Parameter, Any], Any]) -> Decorator:
    return click.option(
        "-g", "--gallery", type=GALLERY_PLACE, default=None,
        envvar="FACEKD_GALLERY", show_envvar=True, callback=callback,
        help="Gallery: a file, or postgresql://USER@HOST/DATABASE [default: the user's gallery.db].",
    )  # fmt: skip


#: the key goes to whatever opens a gallery while the command runs
key_option: Decorator = click.option(
    "--key-file", type=ANY_PATH, default=None, envvar="FACEKD_GALLERY_KEY_FILE", show_envvar=True,
    metavar="FILE", expose_value=False, callback=use_key, help="File with the key of an encrypted gallery.",
)  # fmt: skip


def _gallery(callback: Callable[[click.Context, click.Parameter, Any], Any]) -> Decorator:
    return lambda function: _gallery_place(callback)(key_option(function))


gallery_option: Decorator = _gallery(gallery_or_default)
#: for a command that needs no key, because it copies ciphertexts unchanged
copied_gallery_option: Decorator = _gallery_place(gallery_or_default)
#: for a command that needs a gallery for --claim only
claims_gallery_option: Decorator = _gallery(gallery_of_claim)


def _audit(callback: Callable[[click.Context, click.Parameter, Any], Any]) -> Decorator:
    return click.option(
        "--audit", "audit_reads", is_flag=True, envvar="FACEKD_AUDIT", show_envvar=True, callback=callback,
        help="Record every claim and search in the gallery's audit, and answer none that cannot be recorded.",
    )  # fmt: skip


audit_option: Decorator = _audit(or_setting("audit_reads"))
#: for a command that compares with a gallery for --claim only
claims_audit_option: Decorator = _audit(audit_of_claim)


class RegistryOption(click.Option):
    """An option whose help text comes from a registry, which lists its folder only when help is requested
    and not whenever a command is loaded."""

    def __init__(self, *names: Any, told: Callable[[], str], **settings: Any) -> None:
        super().__init__(*names, **settings)
        self._told = told

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        self.help = self._told()
        return super().get_help_record(ctx)


class RegisteredName(click.ParamType):
    """A name from a registry, which the shell completes; the look-up refuses unknown names."""

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
    """``--protocol``; ``pairs_of_photos`` for commands that accept only protocols of that kind."""
    return click.option(
        "--protocol", type=RegisteredName(lambda: _protocol_names(pairs_of_photos)), default=None,
        metavar="NAME", cls=RegistryOption, told=lambda: _protocols(pairs_of_photos),
    )  # fmt: skip


photos_option: Decorator = click.option(
    "--data", type=EXISTING, required=True, help="Folder or pack of photos (or of aligned crops)."
)

pairs_option: Decorator = click.option(
    "--pairs", type=EXISTING, default=None, help="The protocol's list file."
)

aligned_option: Decorator = click.option(
    "--aligned", is_flag=True, help="The data is already aligned: 112-pixel ArcFace crops."
)

flip_option: Decorator = click.option(
    "--flip", is_flag=True, help="Add the embedding of each crop's mirror image to its own."
)

without_option: Decorator = click.option(
    "--without",
    type=EXISTING_FILE,
    default=None,
    help="Leave out the people named in this file, one per line.",
)

plot_option: Decorator = click.option(
    "--plot", type=ANY_PATH, default=None, help="Write a plot of the result to this file (.png, .svg, .pdf)."
)

report_option: Decorator = click.option(
    "--report", type=ANY_PATH, default=None, help="Write a report page to this file (.html)."
)

csv_option: Decorator = click.option(
    "--csv", "table", type=ANY_PATH, default=None, help="Write every number to this CSV: model,measure,value."
)

annotate_option: Decorator = click.option(
    "--annotate", type=ANY_PATH, default=None, metavar="FILE",
    help="Draw the photos with boxes, landmarks, crops and the answer into this picture (.jpg, .png, .webp).",
)  # fmt: skip

any_quality_option: Decorator = click.option(
    "--any-quality", is_flag=True, help="Accept photos outside the limits in the model's card."
)


per_second_option: Decorator = click.option(
    "--per-second", type=Number(0, 60, min_open=True), default=3.0, show_default=True,
    help="Frames of a video to examine per second.",
)  # fmt: skip


def camera_option(told: str) -> Decorator:
    """``--camera``; ``told`` is its help text."""
    return click.option(
        "--camera", type=click.IntRange(0, 99), default=None, metavar="NUMBER", help=told,
    )  # fmt: skip


seconds_option: Decorator = click.option(
    "--seconds", type=Number(0, 600, min_open=True), default=10.0, show_default=True,
    help="How long to watch the camera.",
)  # fmt: skip


def threshold_option(rival: str) -> Decorator:
    """``--threshold``; ``rival`` is the command's other option that sets it, by a rate."""
    return click.option(
        "--threshold", type=Number(-1, 1), default=None, callback=or_setting("threshold", rival),
        help="Lowest score that counts as the same person, instead of a calibrated threshold.",
    )  # fmt: skip


_RUN_OPTIONS = (
    click.option("--run", "folder", type=ANY_PATH, default=None, help="Run folder [default: runs/RECIPE]."),
    click.option(
        "--images", type=click.IntRange(1), default=None, help="Images to train on, instead of the recipe's."
    ),
    click.option("--seed", type=click.IntRange(0), default=None, help="Seed, instead of the recipe's."),
    click.option("--resume", is_flag=True, help="Resume from the last checkpoint."),
    click.option("--force", is_flag=True, help="Replace a run of the same name."),
    click.option("--threads", type=click.IntRange(1), default=None, help="Threads for the network."),
    click.option(
        "--workers",
        type=click.IntRange(0),
        default=None,
        help="Processes that decode images [default: a quarter of the processors; 0 with fewer than 4].",
    ),
)


def run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of everything that trains."""
    for option in reversed(_RUN_OPTIONS):
        function = option(function)
    return function


root_option: Decorator = click.option(
    "--root", metavar="FOLDER", default=None,
    help="Subfolder that holds the people's folders; . if they are at the top level.",
)  # fmt: skip

device_option: Decorator = click.option(
    "--device", default="cpu", show_default=True, help="cpu or cuda; cuda fails if there is no GPU."
)

json_option: Decorator = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document instead of text."
)


def _hush(context: click.Context, option: click.Parameter, quiet: bool) -> None:
    if quiet:
        be_quiet()


_QUIET: dict[str, Any] = {
    "is_flag": True, "is_eager": True, "expose_value": False, "callback": _hush,
    "help": "Suppress progress and notes.",
}  # fmt: skip

quiet_option: Decorator = click.option("-q", "--quiet", **_QUIET)


def add_quiet(command: click.Command) -> None:
    """Add ``--quiet`` to ``command``; every command has it."""
    if not any("--quiet" in option.opts for option in command.params):
        command.params.append(click.Option(["-q", "--quiet"], **_QUIET))
