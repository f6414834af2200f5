"""Defaults of options that a call does not give: those of ``facekd.toml``, otherwise facekd's own.

An option on the command line takes precedence over the environment, and the environment over the file.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from facekd.cli.output import say
from facekd.errors import FacekdError, UsageError
from facekd.files import settings_file, users_gallery

if TYPE_CHECKING:
    from facekd.gallery import Place
    from facekd.workflows import Defaults

#: where version 0.1 kept the gallery of a call that names none
_OLD_GALLERY = Path("gallery.db")
_READ = "facekd.defaults"
#: the context's object of a command that must also run with broken settings or without a library, because it
#: reports what is wrong
EXAMINES = "examines"

Callback = Callable[[click.Context, click.Parameter, Any], Any]


def defaults_of(context: click.Context) -> Defaults | None:
    """The settings of the ``facekd.toml`` in use, read once per call. Raises what `read_defaults` raises."""
    if _READ not in context.meta:
        context.meta[_READ] = _read(context)
    found: Defaults | None = context.meta[_READ]
    return found


def _read(context: click.Context) -> Defaults | None:
    try:
        if settings_file() is None:
            return None
        from facekd.workflows import read_defaults

        return read_defaults()
    except (FacekdError, ImportError):
        if context.obj == EXAMINES:
            return None
        raise


def or_setting(name: str, rival: str | None = None) -> Callback:
    """The callback of an option whose default is the file's value of ``name``, which is then reported. That
    default is not used if the call gives the ``rival``, another option that sets the same. Nothing is read
    while a shell completes a line."""

    def callback(context: click.Context, option: click.Parameter, given: Any) -> Any:
        if context.resilient_parsing or _named(context, option):
            return given
        # click processes the options that are given before those that are not
        if rival is not None and context.params.get(rival) is not None:
            return given
        found = defaults_of(context)
        value = getattr(found, name) if found else None
        if found is None or value is None:
            return given
        told = str(value).lower() if isinstance(value, bool) else value
        _tell(context, f"{name}: {told} ({found.path})")
        return value

    return callback


def _named(context: click.Context, option: click.Parameter) -> bool:
    """Whether the command line or the environment sets the option."""
    return context.get_parameter_source(str(option.name)) is not ParameterSource.DEFAULT


def _tell(context: click.Context, note: str) -> None:
    """Print where a value comes from, unless the command's answer states it."""
    if context.obj != EXAMINES:
        say(note)


def model_or_setting(context: click.Context, option: click.Parameter, given: Path | None) -> Path | None:
    """As `or_setting`, for a model, which must exist."""
    model: Path | None = or_setting("model")(context, option, given)
    if model is not None and model != given and not model.exists():
        from facekd.card import MODELS_COME_FROM

        found = defaults_of(context)
        where = found.path if found else ""
        raise UsageError(
            f"{where}: model: {model} does not exist", f"A model is an ONNX file: {MODELS_COME_FROM}"
        )
    return model


def model_or_shipped(context: click.Context, option: click.Parameter, given: Path | None) -> Path | None:
    """As `model_or_setting`, otherwise the shipped student, which is then reported."""
    model = model_or_setting(context, option, given)
    if model is not None or context.resilient_parsing:
        return model
    from facekd.weights import shipped_model

    shipped = shipped_model()
    if shipped is None:
        raise click.MissingParameter(ctx=context, param=option)
    say(f"model: {shipped.stem}")
    return shipped


def gallery_or_default(context: click.Context, option: click.Parameter, given: Place | None) -> Place | None:
    """As `or_setting`, otherwise the user's gallery, which is then reported."""
    gallery: Place | None = or_setting("gallery")(context, option, given)
    if gallery is not None or context.resilient_parsing:
        return gallery
    try:
        own = users_gallery()
    except ImportError:
        if context.obj == EXAMINES:
            return _OLD_GALLERY
        raise
    if not _OLD_GALLERY.exists():
        _tell(context, f"gallery: {own}")
        return own
    _tell(
        context,
        f"note: using gallery.db in the current folder; from the next version on, the default is {own}. "
        "Name this gallery with --gallery gallery.db, FACEKD_GALLERY or facekd.toml.",
    )
    return _OLD_GALLERY


def use_key(context: click.Context, option: click.Parameter, given: Path | None) -> None:
    """While the command runs, open galleries with the key in the file ``given``, otherwise with that of the
    environment, otherwise with that of the settings. It is read only when an encrypted gallery is opened."""
    if context.resilient_parsing:
        return
    from facekd.gallery import key_from_command, key_from_file, key_of_environment, using_key

    source = key_from_file(given) if given is not None else key_of_environment()
    found = defaults_of(context) if source is None else None
    if found is not None and found.key_file is not None:
        source = key_from_file(found.key_file)
    elif found is not None and found.key_command is not None:
        source = key_from_command(found.key_command, f"{found.path}: key_command")
    context.with_resource(using_key(source))


def gallery_of_claim(context: click.Context, option: click.Parameter, given: Place | None) -> Place | None:
    """As `gallery_or_default`, for a command that opens a gallery for ``--claim`` only: without it nothing is
    reported."""
    return given if context.params.get("claim") is None else gallery_or_default(context, option, given)


def audit_of_claim(context: click.Context, option: click.Parameter, given: bool) -> bool:
    """As `or_setting`, for a command that compares with a gallery for ``--claim`` only: without it there is
    nothing to audit, and ``--audit`` is an error."""
    if context.params.get("claim") is not None:
        audited: bool = or_setting("audit_reads")(context, option, given)
        return audited
    if given and context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE:
        raise click.UsageError("--audit needs --claim NAME: nothing else is compared with the gallery.")
    return False
