"""Write docs/recipe.md, the reference of a recipe's keys, from the models that read recipes.

    python tools/write_recipe_page.py docs/recipe.md

A key's meaning is the comment above it, in lines that begin with ``#:``; its type, default and range are
those that a recipe is checked against, and so are the settings of the losses.
"""

from __future__ import annotations

import ast
import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import annotated_types
import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from facekd.cli import run
from facekd.distillation import Recipe
from facekd.distillation.losses import loss_class, loss_names, loss_settings
from facekd.files import write_atomically

HEAD = """# Recipe reference

<!-- Written by tools/write_recipe_page.py from the code; change the comments there, not this page. -->

A recipe is a TOML file that states a training run; [Distil a student](distill.md) explains how to use one.
`facekd recipe check FILE` reports every fault of a recipe at once, and the run folder's `recipe.toml` is the
recipe with every default written out. A key whose default is *required* must be given; if the default is a
dash, the key may be left out. Paths are relative to the recipe.
"""

LOSSES = """## Losses

The values of `name` in `[[loss]]` and of the keys in its `settings`, with their types and defaults.
[What each loss computes](distill.md#losses) is in the how-to guide; formulas and sources are in the files of
`facekd/distillation/losses/`. Every one of them may be left out; those without a default
in brackets are then not used.

"""

SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "a multiple of", "min_length": "at least"}
NAMES = {Path: "path", str: "string", int: "integer", float: "number", bool: "true or false", Any: "any"}


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """The ``#:`` comment above each key of a model, of its own body alone."""
    source = inspect.getsource(model)
    lines = source.splitlines()
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    found = {}
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = _comment_above(lines, node.lineno - 1)
    return found


def _comment_above(lines: list[str], line: int) -> str:
    first = line
    while first and lines[first - 1].strip().startswith("#:"):
        first -= 1
    return " ".join(text.strip().removeprefix("#:").strip() for text in lines[first:line])


def type_in_words(kind: Any) -> str:
    """A type as a reader of TOML knows it."""
    origin, inner = get_origin(kind), [a for a in get_args(kind) if a not in (type(None), Ellipsis)]
    if origin is Literal:
        return " or ".join(f'`"{value}"`' for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(map(type_in_words, inner))
    if origin in (tuple, list) or getattr(origin, "__name__", "") == "Sequence":
        return f"list of {'/'.join(dict.fromkeys(map(type_in_words, inner)))}s"
    if origin is dict or (inspect.isclass(kind) and issubclass(kind, BaseModel)):
        return "table"
    return NAMES.get(kind) or str(getattr(kind, "__name__", kind))


def value_in_toml(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return f"`{str(value).lower()}`"
        case str():
            return f'`"{value}"`'
        case int() | float():
            return f"`{value:g}`"
        case tuple() | list():
            return f"`[{', '.join(value_in_toml(item).strip('`') for item in value)}]`"
    raise TypeError(f"a default of {type(value).__name__} has no form in TOML")


def bounds(field: FieldInfo) -> str:
    """The range of a number, as ``≥ 0, < 1``."""
    told = []
    for bound in field.metadata:
        for name, sign in SIGNS.items():
            if isinstance(bound, annotated_types.BaseMetadata) and hasattr(bound, name):
                told.append(f"{sign} {getattr(bound, name):g}")
    return ", ".join(told)


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "-" if isinstance(value, BaseModel) or value == {} else value_in_toml(value)


def table_of(kind: Any) -> type[BaseModel] | None:
    """The model behind a field: itself, the items of a list of it, or what may be absent."""
    if inspect.isclass(kind) and issubclass(kind, BaseModel):
        return kind
    return next((found for inner in get_args(kind) if (found := table_of(inner))), None)


def table_rows(model: type[BaseModel]) -> Iterator[str]:
    """A row for each key of a model that is no table of its own section."""
    told = meanings(model)
    for name, field in model.model_fields.items():
        if model is Recipe and table_of(field.annotation):
            continue
        if not told.get(name):
            raise ValueError(f"{model.__name__}.{name} has no comment that begins with '#:'")
        kind, limits = type_in_words(field.annotation), bounds(field)
        kind = "list of tables" if table_of(field.annotation) else kind
        meaning = told[name].replace("``", "`")
        yield f"| `{name}` | {kind}{', ' + limits if limits else ''} | {default_of(field)} | {meaning} |"


def section(title: str, model: type[BaseModel], intro: str) -> str:
    head = [f"## {title}", "", *([intro, ""] if intro else []), "| key | type | default | meaning |"]
    return "\n".join([*head, "| --- | --- | --- | --- |", *table_rows(model)])


def intro_of(model: type[BaseModel]) -> str:
    """A model's doc string as one paragraph a paragraph."""
    paragraphs = inspect.cleandoc(model.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(text.split()) for text in paragraphs).replace("``", "`")


def defaults_of(things: list[Callable[..., Any]]) -> dict[str, Any]:
    """The defaults of parameters by name, those of the first that has one."""
    found: dict[str, Any] = {}
    for thing in things:
        for name, parameter in inspect.signature(thing).parameters.items():
            if parameter.default is not parameter.empty:
                found.setdefault(name, parameter.default)
    return found


def settings_table(things: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Any]]]) -> str:
    """A table of registered things by name, each with a description and the types and defaults of its
    settings."""
    rows = ["| name | what it is | settings |", "| --- | --- | --- |"]
    for name, (about, settings, defaults) in sorted(things.items()):
        told = [f"`{key}`: {type_in_words(kind)}{_default(defaults, key)}" for key, kind in settings.items()]
        rows.append(f"| `{name}` | {about} | {'<br>'.join(told) or '-'} |")
    return "\n".join(rows)


def _default(defaults: Mapping[str, Any], key: str) -> str:
    if key not in defaults:
        return ", required"
    return "" if defaults[key] is None else f" ({value_in_toml(defaults[key])})"


def losses() -> str:
    things = {}
    for name in loss_names():
        loss = loss_class(name)
        about = inspect.cleandoc(inspect.getmodule(loss).__doc__ or "").splitlines()[0].rstrip(".")
        inits = [vars(kind)["__init__"] for kind in loss.__mro__ if "__init__" in vars(kind)]
        things[name] = (about, loss_settings(name), defaults_of(inits))
    return settings_table(things)


def page() -> str:
    parts = [HEAD, section("The top of the file", Recipe, "")]
    for name, field in Recipe.model_fields.items():
        model = table_of(field.annotation)
        if model is not None:
            title = f"[[{name}]]" if get_origin(field.annotation) is tuple else f"[{name}]"
            parts.append(section(f"`{title}`", model, intro_of(model)))
    parts.append(LOSSES + losses())
    return "\n\n".join(part.strip() for part in parts) + "\n"


@click.command()
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
def main(target: Path) -> None:
    """Write the page into TARGET."""
    write_atomically(target, page().encode())
    click.echo(str(target))


if __name__ == "__main__":
    raise SystemExit(run(main))
