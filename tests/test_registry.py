"""What a registry finds: the files of its folder, and what other packages' entry points name."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from other_packages import install

from facekd.errors import RecipeError, UsageError
from facekd.registry import Registry

_NUMBERS = itertools.count()

Make = Callable[..., Registry]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """``make(files, plugins)``: a registry of a folder of ``files`` (text by name), in which ``REGISTRY`` is
    the registry, and of the distributions ``plugins`` (modules and entry points by name)."""

    def made(files: dict[str, str], plugins: dict[str, tuple[dict[str, str], str]] | None = None) -> Registry:
        own = f"shapes{next(_NUMBERS)}"
        folder = tmp_path / own
        folder.mkdir()
        registry: Registry = Registry("shape", own, f"test.{own}", RecipeError)
        base = "REGISTRY = None\ndef register(name):\n    return REGISTRY.register(name)\n"
        for name, text in {"__init__": "", "_base": base, **files}.items():
            (folder / f"{name}.py").write_text(text.replace("OWN", own))
        for name, (modules, points) in (plugins or {}).items():
            texts = {module: text.replace("OWN", own) for module, text in modules.items()}
            install(tmp_path / f"{own}-{name}", name, texts, f"[test.{own}]\n{points}")
            monkeypatch.syspath_prepend(tmp_path / f"{own}-{name}")
        monkeypatch.syspath_prepend(tmp_path)
        __import__(f"{own}._base")._base.REGISTRY = registry
        return registry

    return made


def registers(name: str) -> str:
    return f"from OWN._base import register\n@register('{name}')\ndef {name}(): return '{name}'\n"


def module(*names: str) -> str:
    """A module name that no other test has imported."""
    return f"extra_{'_'.join(names)}_{next(_NUMBERS)}"


def test_a_file_is_all_it_takes_and_helpers_are_not_looked_at(make: Make) -> None:
    registry = make({"round": registers("circle"), "_helper": "raise RuntimeError('imported')"})
    assert registry.names() == ["circle"]
    assert registry["circle"]() == "circle"
    with pytest.raises(RecipeError, match="no shape is named 'ring'") as error:
        registry["ring"]
    assert error.value.fix == "Known: circle."


def test_two_of_a_name_are_a_bug(make: Make) -> None:
    registry = make({"round": registers("circle"), "ring": registers("circle")})
    with pytest.raises(ValueError, match="two shapes are named circle"):
        registry.names()


def test_another_package_adds_by_an_entry_point(make: Make) -> None:
    name = module("square")
    registry = make(
        {"round": registers("circle")}, {"more-shapes": ({name: registers("square")}, f"square = {name}\n")}
    )
    assert registry.names() == ["circle", "square"]
    assert registry["square"]() == "square"
    assert list(registry.working()) == ["circle", "square"]
    with pytest.raises(RecipeError) as error:
        registry["ring"]
    assert error.value.fix == "Known: circle, square."


def test_what_another_package_adds_is_imported_when_it_is_asked_for(make: Make, tmp_path: Path) -> None:
    name, seen = module("late"), tmp_path / "imported"
    text = f"open({str(seen)!r}, 'w').close()\n" + registers("late")
    registry = make({"round": registers("circle")}, {"late-shapes": ({name: text}, f"late = {name}\n")})
    assert registry.names() == ["circle", "late"]
    assert registry["circle"]() == "circle"
    assert not seen.exists()
    assert registry["late"]() == "late"
    assert seen.exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("import nothing_of_that_name", "cannot be loaded: ModuleNotFoundError: No module named"),
        (None, "cannot be loaded: ModuleNotFoundError: No module named"),
        ("", "does not register it"),
        (registers("square"), "does not register it"),
        (registers("broken") + "raise OSError('half done')\n", "cannot be loaded: OSError: half done"),
    ],
)
def test_a_broken_plug_in_is_told_of_only_when_its_name_is_asked_for(
    make: Make, text: str | None, told: str
) -> None:
    name = module("broken")
    modules = {} if text is None else {name: text}
    registry = make({"round": registers("circle")}, {"Bad-Shapes": (modules, f"broken = {name}\n")})
    assert registry.names() == ["broken", "circle"]
    assert registry["circle"]() == "circle"
    assert "broken" not in registry.working()
    # not only the first time
    for _ in range(2):
        with pytest.raises(RecipeError, match="Bad-Shapes") as error:
            registry["broken"]
        assert told in error.value.cause
        assert error.value.fix == "Fix or uninstall Bad-Shapes."


def test_one_name_of_two_packages_is_nobodys(make: Make) -> None:
    one, other = module("one"), module("other")
    registry = make(
        {"round": registers("circle"), "flat": registers("disc")},
        {
            "one": ({one: registers("square")}, f"square = {one}\n"),
            "other": ({other: registers("disc")}, f"square = {other}\ndisc = {other}\n"),
        },
    )
    assert registry.names() == ["circle", "disc", "square"]
    with pytest.raises(
        UsageError, match=r"the shape 'square' is claimed by (one and by other|other and by one)"
    ):
        registry["square"]
    with pytest.raises(UsageError, match="the shape 'disc' is claimed by facekd and by other"):
        registry["disc"]
    assert list(registry.working()) == ["circle"]


def test_one_module_may_register_several(make: Make) -> None:
    name = module("two")
    text = registers("square") + registers("cube")
    registry = make({}, {"two-shapes": ({name: text}, f"square = {name}\ncube = {name}\n")})
    assert registry["cube"]() == "cube"
    assert registry["square"]() == "square"
