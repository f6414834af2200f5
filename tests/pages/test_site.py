"""The documentation builds as a site without a warning, and its pages load nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the site needs the extra 'docs'")

ROOT = Path(__file__).parents[2]
#: what a browser fetches by itself; a link that a reader follows is none of these
_FETCHED = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Fetched(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value for name, value in attrs if value and (tag, name) in _FETCHED]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site: the configuration makes every warning an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


def test_warnings_are_errors() -> None:
    from mkdocs.config import load_config

    assert load_config(str(ROOT / "mkdocs.yml")).strict


def test_every_page_is_built(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages == {path.stem for path in site.glob("*.html")} - {"404", "search"}


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for page in site.glob("*.html"):
        parser = Fetched()
        parser.feed(page.read_text(encoding="utf-8"))
        assert parser.addresses
        assert not [a for a in parser.addresses if re.match(r"(\w+:)?//", a)], page.name
    for style in site.rglob("*.css"):
        found = re.findall(r"url\(['\"]?([^'\")]+)", style.read_text(encoding="utf-8"))
        assert not [a for a in found if re.match(r"(\w+:)?//", a)], style.name
