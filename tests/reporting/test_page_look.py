"""What can be said of a page's look and reading order without a browser."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from facekd.reporting import Call, Page, Section, write_page, write_run_page, write_scores_page
from facekd.reporting.drawing import DARK, LIGHT, Theme
from facekd.verification import judge_scores

METRICS = [
    {"step": 1, "images": 8, "loss": 3.0},
    {"step": 20, "images": 160, "loss": 1.5},
    {"step": 20, "images": 160, "heldout_tar_1e-3": 0.6},
]
#: text of the style sheet, and what it can stand on
TEXT = [*itertools.product(("ink", "quiet", "accent"), ("paper", "panel")), ("ink", "warn-paper")]
#: WCAG 2.2, success criteria 1.4.3 (text) and 1.4.11 (lines of a picture)
ENOUGH, ENOUGH_FOR_LINES = 4.5, 3.0


class Elements(HTMLParser):
    """The elements of a page in their order, and the text of headings and cells of the table's head."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.told: dict[str, list[str]] = {"h1": [], "h2": [], "th": [], "title": []}
        self._in = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {key: value or "" for key, value in attrs}))
        self._in = tag
        if tag in self.told:
            self.told[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in in self.told:
            self.told[self._in][-1] += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.found if name == tag]


def _run(path: Path) -> Path:
    return write_run_page(METRICS, "first", path)


def _scores(path: Path) -> Path:
    random = np.random.default_rng(0)
    mated = np.arange(6000) < 3000
    return write_scores_page(
        path, judge_scores("scores", "s.csv", random.normal(np.where(mated, 2, 0)), mated)
    )


@pytest.fixture(params=[_run, _scores])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Elements:
    write: Callable[[Path], Path] = request.param
    return Elements(write(tmp_path / "page.html").read_text(encoding="utf-8"))


def test_one_title_and_headings_in_order(page: Elements) -> None:
    assert page.all("html") == [{"lang": "en"}]
    assert page.told["title"] == page.told["h1"]
    assert len(page.told["h1"]) == 1
    levels = [tag for tag, _ in page.found if re.fullmatch(r"h\d", tag)]
    assert levels == ["h1", *["h2"] * len(page.told["h2"])]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")


def test_every_picture_is_told_captioned_and_has_a_dark_side(page: Elements) -> None:
    images = page.all("img")
    assert images
    assert all(len(image["alt"]) > 20 for image in images)
    assert len(page.all("figcaption")) == len(images)
    assert [source["media"] for source in page.all("source")] == ["(prefers-color-scheme: dark)"] * len(
        images
    )
    sources = [image["src"] for image in images] + [source["srcset"] for source in page.all("source")]
    assert all(source.startswith("data:image/") for source in sources)


def test_every_table_has_a_name_of_its_own_and_no_empty_head(page: Elements) -> None:
    assert page.told["th"]
    assert all(told.strip() for told in page.told["th"])
    assert {head["scope"] for head in page.all("th")} == {"col", "row"}
    names = [area["aria-labelledby"] for area in page.all("div") if area.get("class") == "scroll"]
    assert len(names) == len(set(names)) == len(page.all("table")) == len(page.all("caption"))
    identifiers = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    assert set(names) <= set(identifiers)


def test_no_address_leads_out(page: Elements) -> None:
    assert all(link["href"].startswith("#") for link in page.all("a"))
    assert not {tag for tag, _ in page.found} & {"link", "script", "iframe"}


def test_a_command_stands_beside_its_answer(tmp_path: Path) -> None:
    call = Call("facekd verify 'a<b.jpg' c.jpg", "note: x & y\ndifferent people", 1)
    silent = Call("facekd gallery list", "", 0)
    page = Page("p", (), (Section("Commands", calls=(call, silent)),))
    html = write_page(tmp_path / "p.html", page).read_text(encoding="utf-8")
    words = "</span> <span>".join(("facekd", "verify", "&#39;a&lt;b.jpg&#39;", "c.jpg"))
    assert f"<kbd><span>{words}</span></kbd>" in html
    assert "<samp>note: x &amp; y\ndifferent people</samp>" in html
    assert re.findall(r"<small>(Exit code .)</small>", html) == ["Exit code 1", "Exit code 0"]
    assert html.count("<samp>") == 1


def _style_colours() -> list[dict[str, str]]:
    """The colours of the style sheet by name: for a light and for a dark screen."""
    style = resources.files("facekd.reporting").joinpath("page.html.jinja").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in blocks]


def _contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours (WCAG 2.2, relative luminance of sRGB)."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def test_the_contrast_is_measured_rightly() -> None:
    assert _contrast("#000000", "#ffffff") == pytest.approx(21)
    assert _contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


def test_text_can_be_read_on_a_light_and_on_a_dark_screen() -> None:
    screens = _style_colours()
    assert len(screens) == 2
    for colours in screens:
        for text, behind in TEXT:
            assert _contrast(colours[text], colours[behind]) >= ENOUGH, (text, behind, colours)


@pytest.mark.parametrize(("theme", "place"), [(LIGHT, 0), (DARK, 1)])
def test_pictures_have_the_colours_of_the_page_they_stand_on(theme: Theme, place: int) -> None:
    colours = _style_colours()[place]
    assert (theme.paper, theme.ink) == (colours["paper"], colours["ink"])
    for line in theme.series:
        assert _contrast(line, theme.paper) >= ENOUGH_FOR_LINES, line
