"""The page: what is on it, that it loads nothing, and that a hostile name stays text."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from dark_drawings import check_dark
from made_up import make_benchmark, make_model, make_result

from facekd.benchmark import Benchmark
from facekd.errors import InputOutput
from facekd.reporting import (
    BENCHMARK_SECTIONS,
    SPEED_FIGURES,
    Cell,
    Drawing,
    Page,
    Picture,
    Section,
    Table,
    write_benchmark_page,
    write_page,
)
from facekd.reporting.benchmark_figures import histogram_drawings, roc_drawing, well_counted
from facekd.reporting.page import render

VOID = {"meta", "img", "source", "br", "link", "input", "hr"}
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Reader(HTMLParser):
    """Collects elements and text, and checks that every element is closed where it must be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(path: Path) -> Reader:
    return Reader(path.read_text(encoding="utf-8"))


@pytest.fixture
def page(made: Benchmark, tmp_path: Path) -> Reader:
    return read(write_benchmark_page(tmp_path / "new" / "report.html", made))


def test_the_figures_are_on_it(page: Reader) -> None:
    text = page.text.replace("\u00a0", " ").replace("\u202f", " ")
    for told in (
        "small beside big", "4.00 M", "1.00 M", "98.3 M", "9.15 MB", "256 bytes", "32.0 MB", "150 ms",
        "99.50 %", "90.00 to 99.90", "2,000 pairs, 0 folds", "insufficient data",
        "1.50 points less accurate",
        "Ann/1.jpg", "Bob/1.jpg", "0.123", "0.432", "Processor X", "avx2", "16.0 GB",
        "Apache-2.0", "drawn people", "12,345", "All 99 photos gave a face.", "32 faces of faces.zip",
    ):  # fmt: skip
        assert told in text, told


def test_it_loads_nothing_and_runs_nothing(made: Benchmark, tmp_path: Path) -> None:
    html = write_benchmark_page(tmp_path / "report.html", made).read_text(encoding="utf-8")
    page = Reader(html)
    names = {name for name, _ in page.elements}
    assert not names & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for _, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("src", "srcset"):
            assert (attributes.get(key) or "data:image/").startswith("data:image/")
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"https?://|@import|url\(", html)
    policy = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_the_pictures_load_nothing_either(page: Reader) -> None:
    images = [a["src"] for a in page.all("img")] + [a["srcset"] for a in page.all("source")]
    drawn = [base64.b64decode(i.partition(",")[2]) for i in images if i and i.startswith("data:image/svg")]
    # latency, throughput, ROC and two histograms, for a light and a dark screen
    assert len(drawn) == 10
    for svg in drawn:
        for element in ElementTree.fromstring(svg).iter():
            links = [value for key, value in element.attrib.items() if key.endswith("href")]
            assert all(link.startswith("#") for link in links)
        # names of XML vocabularies only
        assert set(re.findall(rb"https?://[^/\"']+", svg)) <= {b"http://www.w3.org"}


def test_it_can_be_read_without_seeing_it(page: Reader) -> None:
    for image in page.all("img"):
        assert len(image.get("alt") or "") > 10
    assert page.all("html")[0]["lang"] == "en"
    assert {a.get("scope") for a in page.all("th")} == {"col", "row"}
    for area in (a for a in page.all("div") if a.get("class") == "scroll"):
        # a part that scrolls can be reached by keyboard and has a name
        assert area["tabindex"] == "0"
        assert area["aria-labelledby"] in {a.get("id") for _, a in page.elements}
    anchors = {a["id"] for a in page.all("section")}
    assert {str(a["href"])[1:] for a in page.all("a")} == anchors


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    r"$\frac{1$ __x__ $",
    "_hidden",
    "人" * 60,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_text(tmp_path: Path, name: str) -> None:
    made = make_benchmark(student=name)
    model = made.models[1]
    shown = model.hardest[0]
    card = model.card.model_copy(update={"licence": name, "architecture": name})
    student = replace(model, card=card, hardest=(replace(shown, pair=replace(shown.pair, first=name)),))
    page = read(
        write_benchmark_page(
            tmp_path / "r.html", replace(made, models=(made.models[0], student)), notice=name
        )
    )
    assert page.text.count(name) >= 6
    assert not page.all("script")
    assert all(str(image["src"]).startswith("data:") for image in page.all("img"))


def test_figures_and_sections_that_register_themselves(
    made: Benchmark, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for parts in (SPEED_FIGURES, BENCHMARK_SECTIONS):
        monkeypatch.setattr(parts, "registered", [*parts.registered])

    @SPEED_FIGURES.register(15)
    def loading(benchmark):
        yield Drawing("loading", lambda axes, theme: axes.bar([0], [1]), 2.0, "Bars of loading times.", "")

    @BENCHMARK_SECTIONS.register(65)
    def advice(page):
        yield Section("Advice", (f"Take {page.benchmark.students[0].name}.",))

    page = read(write_benchmark_page(tmp_path / "r.html", made))
    alts = [str(image["alt"]).split(" ")[0] for image in page.all("img")]
    # the hardest pairs follow
    assert alts[:6] == ["Bar", "Bars", "Bar", "ROC", "Histogram", "Histogram"]
    assert page.text.index("Take small.") < page.text.rindex("Machine and method")


def test_every_drawing_on_a_dark_screen(made: Benchmark) -> None:
    for drawing in (*SPEED_FIGURES.of(made), *roc_drawing(made), *histogram_drawings(made)):
        check_dark(drawing)


def test_notice_and_extra_parts(made: Benchmark, tmp_path: Path) -> None:
    runs = (("distilled", Cell("60,000", "in 90 s")), ("baseline", "60,000"))
    training = Section(
        "Training",
        paragraphs=("Both saw the same crops.",),
        tables=(Table(("Run", "Images"), runs),),
        pictures=(Picture(PNG, "a single dot", "A dot"),),
    )
    path = write_benchmark_page(
        tmp_path / "r.html",
        made,
        title="Demo",
        notice="This student knows drawn people only.",
        extra=[training],
    )
    page = read(path)
    assert page.text.index("knows drawn people only") < page.text.index("Side by side")
    assert page.text.index("Both saw the same crops.") > page.text.index("Accuracy")
    assert "in 90 s" in page.text
    assert [a["alt"] for a in page.all("img") if str(a["src"]).startswith("data:image/png")] == [
        "a single dot"
    ]
    assert page.text.strip().startswith("Demo")


def test_no_faces_unless_they_were_given(made: Benchmark, tmp_path: Path) -> None:
    def faces(benchmark: Benchmark) -> list[str]:
        page = read(write_benchmark_page(tmp_path / "r.html", benchmark))
        return [str(a["src"]) for a in page.all("img") if str(a["src"]).startswith("data:image/jpeg")]

    assert len(faces(made)) == 4, "one pair of each model carries crops"
    bare = []
    for model in made.models:
        bare.append(replace(model, hardest=tuple(replace(shown, faces=None) for shown in model.hardest)))
    assert faces(replace(made, models=tuple(bare))) == []


def test_without_accuracy(tmp_path: Path) -> None:
    page = read(write_benchmark_page(tmp_path / "r.html", make_benchmark(measured=False)))
    assert "Not measured: no photos were given" in page.text
    assert "Hardest pairs" not in page.text


def test_only_pictures_are_taken_for_pictures() -> None:
    page = Page("t", (), (Section("s", pictures=(Picture(b"GIF89a", "gif"),)),))
    with pytest.raises(ValueError, match="PNG, JPEG or SVG"):
        render(page)


def test_a_page_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputOutput):
        write_page(tmp_path / "file" / "page.html", Page("t", (), ()))


def test_a_roc_begins_where_thirty_false_matches_are_counted() -> None:
    result = make_result(0, 0, pairs=4000)
    mated, non_mated = result.scores[result.mated], result.scores[~result.mated]
    fmr, tar = well_counted(result)
    assert fmr[0] == pytest.approx(30 / 2000)
    assert len(fmr) <= 400
    for rate, reached in zip(fmr[::40], tar[::40], strict=True):
        # re-derived from the scores: the loosest threshold whose FMR is not above the rate
        allowed = int(rate * 2000 + 1e-6)
        threshold = np.sort(non_mated)[::-1][allowed - 1]
        assert reached == pytest.approx((mated >= threshold).mean())


def test_too_few_comparisons_draw_no_roc(made: Benchmark) -> None:
    assert [drawing.name for drawing in roc_drawing(made)] == ["roc"]
    few = tuple(replace(model, result=make_result(0, 0, pairs=40)) for model in made.models)
    assert list(roc_drawing(replace(made, models=few))) == []


def test_bars_of_a_device_are_named_by_it(tmp_path: Path) -> None:
    made = replace(make_benchmark(measured=False), device="cuda")
    assert "cuda" in read(write_benchmark_page(tmp_path / "r.html", made)).text
    assert make_model("m", "student", 1.0, 1, None).result is None
