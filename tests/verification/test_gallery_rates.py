"""A gallery's accuracy by person, counted again one comparison at a time."""

from __future__ import annotations

import io

import numpy as np
import pytest

from facekd.errors import UsageError
from facekd.reporting import results_figure, table
from facekd.reporting.gallery_curves import gallery_scored
from facekd.verification.gallery_rates import judge_gallery
from facekd.verification.results.gallery import GalleryResult

DIM, ENROLLED, PERSONS, EACH = 8, 30, 60, 5


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class Case:
    """30 enrolled and 30 other persons, five photos each, three of which gave no embedding; person P59's
    photos look like P00, and P01's like nobody."""

    def __init__(self) -> None:
        random = np.random.default_rng(5)
        centres = random.normal(size=(PERSONS, DIM))
        centres[59] = centres[0]
        names = [f"P{p:02d}" for p in range(PERSONS)]
        self.templates = _unit(centres[:ENROLLED])
        self.enrolled = names[:ENROLLED]
        self.people = [name for name in names for _ in range(EACH)]
        rows = np.repeat(centres, EACH, axis=0) + 0.6 * random.normal(size=(PERSONS * EACH, DIM))
        rows[5:10] = -centres[1]
        self.probes = _unit(rows)
        self.probes[[12, 13, 200]] = np.nan
        self.photos = [f"{person}/{n}.jpg" for n, person in enumerate(self.people)]

    def judged(self, threshold: float | None = None, origin: str = "given") -> GalleryResult:
        return judge_gallery(
            self.templates, self.enrolled, self.probes, self.people, self.photos, threshold, origin
        )

    def scores(self):
        for row, person in zip(self.probes, self.people, strict=True):
            if not np.isnan(row).all():
                for template, other in zip(self.templates, self.enrolled, strict=True):
                    yield float(row @ template), person, other


@pytest.fixture(scope="module")
def case() -> Case:
    return Case()


def test_rates_by_person_counted_one_by_one(case: Case) -> None:
    at = case.judged(0.7).operating
    scores = list(case.scores())
    assert len(at.people) == PERSONS
    for person in at.people:
        own = [s for s, p, q in scores if p == q == person.name]
        as_template = [s for s, p, q in scores if q == person.name != p]
        as_probe = [s for s, p, q in scores if p == person.name != q]
        assert (person.mated, person.misses) == (len(own), sum(s < 0.7 for s in own))
        assert (person.as_template, person.others_taken) == (
            len(as_template), sum(s >= 0.7 for s in as_template)
        )  # fmt: skip
        assert (person.as_probe, person.taken_for_others) == (len(as_probe), sum(s >= 0.7 for s in as_probe))
        assert person.enrolled == (person.name in case.enrolled)
        assert person.fnmr == (person.misses / len(own) if own else None)
        assert person.fmr == (person.others_taken / len(as_template) if as_template else None)
    assert {p.name: p.failures for p in at.people if p.failures} == {"P02": 2, "P40": 1}
    assert (at.people[0].name, at.people[0].fnmr) == ("P01", 1.0)


def test_the_whole_is_the_sum_of_the_persons(case: Case) -> None:
    result = case.judged(0.7)
    at = result.operating
    assert at.misses == sum(p.misses for p in at.people)
    assert at.false_matches == sum(p.others_taken for p in at.people)
    assert at.false_matches == sum(p.taken_for_others for p in at.people)
    assert at.false_matches == sum(pair.matches for pair in at.confusions)
    assert at.fmr == at.false_matches / result.scores.non_mated
    assert at.fnmr == at.misses / result.scores.mated.size
    assert at.fmr_interval.low < at.fmr < at.fmr_interval.high
    assert at.fnmr_interval.low < at.fnmr < at.fnmr_interval.high


def test_the_worst_confusion_comes_first(case: Case) -> None:
    worst = case.judged(0.7).operating.confusions[0]
    assert (worst.probe, worst.enrolled, worst.probes) == ("P59", "P00", 5)
    expected = [s for s, p, q in case.scores() if (p, q) == ("P59", "P00")]
    assert worst.matches == sum(s >= 0.7 for s in expected)
    assert worst.highest == pytest.approx(max(expected), abs=1e-6)


def test_open_set_against_one_search_at_a_time(case: Case) -> None:
    result = case.judged(0.7)
    assert result.unknown == tuple(f"P{p:02d}" for p in range(ENROLLED, PERSONS))
    first = 0
    for row, person in zip(case.probes, case.people, strict=True):
        if person in case.enrolled and not np.isnan(row).all():
            first += case.enrolled[int(np.argmax(case.templates @ row))] == person
    assert (result.ranks[0].hits, result.ranks[0].searches) == (first, ENROLLED * EACH)
    assert {point.non_mated for point in result.open_set} == {(PERSONS - ENROLLED) * EACH}
    assert result.failed == ("P02/12.jpg", "P02/13.jpg", "P40/200.jpg")


def test_without_a_threshold_that_of_the_lowest_measurable_rate(case: Case) -> None:
    result = case.judged()
    shown = [point for point in result.points if point.threshold is not None]
    assert [point.fmr for point in shown] == [1e-2]
    assert result.operating.threshold == shown[-1].threshold
    assert "these comparisons themselves" in result.operating.origin
    assert result.operating.false_matches == shown[-1].false_matches


def test_too_few_for_any_threshold() -> None:
    rows = _unit(np.eye(4))
    result = judge_gallery(rows[:2], ["a", "b"], rows, ["a", "b", "c", "d"], ["1", "2", "3", "4"])
    assert result.operating is None
    assert "No operating threshold" in _printed(result)
    assert result.to_dict()["at_threshold"] is None


def test_everybody_is_enrolled_and_nobody_is_missed() -> None:
    rows = _unit(np.eye(4))
    result = judge_gallery(rows, list("abcd"), rows, list("abcd"), list("1234"), 0.5, "given")
    at = result.operating
    assert (at.fmr, at.fnmr, at.confusions, result.unknown) == (0, 0, (), ())
    assert (at.fmr_interval.high, at.fnmr_interval.high) == (3 / 6, 3 / 4)  # of four people six pairs
    assert "no photos of people who are not enrolled" in _printed(result)


def test_nobody_with_a_probe() -> None:
    rows = _unit(np.eye(4))
    with pytest.raises(UsageError, match="no probe is of a person"):
        judge_gallery(rows[:2], ["a", "b"], rows[2:], ["c", "d"], ["1", "2"])


def _printed(result: GalleryResult) -> str:
    from rich.console import Console

    file = io.StringIO()
    Console(file=file, width=160).print(table(result))
    return file.getvalue()


def test_what_is_printed(case: Case) -> None:
    told = _printed(case.judged(0.7))
    for words in (
        "30 enrolled people", "30 people among the probes are not enrolled", "Most often missed",
        "Who is confused with whom", "P59 (not enrolled)", "Operating threshold: 0.7000, given", "3 of 300",
    ):  # fmt: skip
        assert words in told


def test_names_are_no_markup(case: Case) -> None:
    rows = _unit(np.array([[1, 0.0], [0.9, 0.1]]))
    told = _printed(judge_gallery(rows, ["[red]x", "[bold]y"], rows, ["[red]x", "[bold]y"], ["1", "2"], 0.5))
    assert "[red]x" in told
    assert "[bold]y" in told


def test_the_pictures_hold_the_curves(case: Case) -> None:
    result = case.judged(0.7)
    scored = gallery_scored(result)
    assert (np.diff(scored.fmr) >= 0).all()
    assert scored.fmr.min() * result.scores.non_mated >= 30 - 1e-6
    yes = result.scores.mated
    for place in (0, scored.fmr.size // 2, scored.fmr.size - 1):
        kept = round(scored.fmr[place] * result.scores.non_mated)
        assert scored.tar[place] == pytest.approx((yes >= result.scores.tail[kept - 1]).mean())
    figure = results_figure({"tiny": result})
    assert [bool(axes.lines) for axes in figure.axes] == [True, True, True]
