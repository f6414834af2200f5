"""docs/recipe.md says what the models that read recipes say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from write_recipe_page import page, section, type_in_words, value_in_toml

from facekd.distillation.losses import loss_names

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"


def test_the_page_is_the_one_that_the_tool_writes() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(), "run: python tools/write_recipe_page.py docs/recipe.md"


def test_every_loss_is_on_it() -> None:
    rows = page().split("## Losses")[1]
    assert all(f"| `{name}` |" in rows for name in loss_names())


class Commented(BaseModel):
    #: the share of
    #: something, ``0`` for none
    share: float = Field(0.5, ge=0, lt=1)
    #: which
    kind: Literal["a", "b"] | None = None
    #: where from
    paths: tuple[Path, ...]


class Silent(BaseModel):
    #: said
    one: int = 1

    two: int = 2


def test_a_key_is_told_with_type_range_default_and_comment() -> None:
    rows = section("T", Commented, "").splitlines()[4:]
    assert rows == [
        "| `share` | number, ≥ 0, < 1 | `0.5` | the share of something, `0` for none |",
        '| `kind` | `"a"` or `"b"` | - | which |',
        "| `paths` | list of paths | required | where from |",
    ]


def test_a_key_without_a_comment_is_a_fault() -> None:
    with pytest.raises(ValueError, match=r"Silent\.two has no comment"):
        section("T", Silent, "")


@pytest.mark.parametrize(
    ("value", "written"),
    [(None, "-"), (True, "`true`"), ("x", '`"x"`'), (1e-3, "`0.001`"), ((1, 0.5), "`[1, 0.5]`")],
)
def test_defaults_are_written_as_in_toml(value: Any, written: str) -> None:
    assert value_in_toml(value) == written


def test_unions_and_lists_are_told_in_words() -> None:
    assert type_in_words(float | Literal["auto"]) == 'number or `"auto"`'
    assert type_in_words(tuple[int, ...]) == "list of integers"
