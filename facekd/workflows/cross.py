"""Two models at once: one embeds the probe, the other what it is compared with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facekd.card.onnx_file import card_of, load_onnx, write_card
from facekd.errors import Misfit, UsageError
from facekd.runtime import load_embedder
from facekd.verification import PairList, PairResult, Protocol, Result, results_table, roc_figure
from facekd.verification.differences import Difference, tar_difference
from facekd.verification.result import ALL_PAIRS_FMRS
from facekd.verification.two_sided import Kept, TwoSided, judge_two_sided
from facekd.workflows.acquire import Advance
from facekd.workflows.evaluate import Evaluation, evaluate

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType
    from rich.table import Table

#: the FMR at which two spaces are called compatible or not
COMPATIBLE_FMR = ALL_PAIRS_FMRS[0]
#: the share of mated comparisons that compatible models may lose against the weaker of the two alone
MOST_LOST = 0.05
_OWN = (
    "Thresholds do not carry over: a threshold that was measured for one model alone holds for no "
    "comparison of the two, which has its own."
)


@dataclass(frozen=True)
class Compatibility:
    """Whether the two models' embeddings may stand in one gallery: ``loss`` is the TAR of the two
    together less that of the ``weaker`` of them alone, all pairs at `COMPATIBLE_FMR`. ``loss`` is
    `None` where the data cannot show it, for the reason ``absent``."""

    weaker: str
    loss: Difference | None
    absent: str | None = None

    @property
    def agreed(self) -> bool:
        """Whether the interval says that no more than `MOST_LOST` is lost."""
        return self.loss is not None and self.loss.interval.low >= -MOST_LOST

    @property
    def sentence(self) -> str:
        if self.loss is None:
            return f"Whether the two are compatible cannot be said: {self.absent}."
        verdict = "compatible" if self.agreed else "not compatible"
        told = self.loss.told(f"{self.weaker} alone")
        return (
            f"The two together are {told} in TAR at FMR {COMPATIBLE_FMR:g} over all pairs: {verdict}, by the "
            f"rule that the interval allows a loss of {100 * MOST_LOST:g} points."
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "fmr": COMPATIBLE_FMR,
            "weaker": self.weaker,
            "difference": self.loss.value if self.loss else None,
            "interval": self.loss.interval.to_dict() if self.loss else None,
            "compatible": self.agreed if self.loss else None,
            "sentence": self.sentence,
        }


@dataclass(frozen=True)
class CrossEvaluation:
    """Both models alone (``alone``), and together: ``crossed`` by name, the first photo of each pair
    embedded by the one, the second by the other, and the reverse."""

    alone: Evaluation[PairResult]
    crossed: dict[str, TwoSided]
    compatibility: Compatibility

    @property
    def photos_per_second(self) -> float:
        return self.alone.photos_per_second

    def results(self) -> dict[str, PairResult]:
        return {**self.alone.results(), **{name: found.result for name, found in self.crossed.items()}}

    def to_dict(self) -> dict[str, Any]:
        return {
            **self.alone.to_dict(),
            "cross": [
                {
                    "name": name,
                    **found.result.to_dict(),
                    "all_pairs": {"operating_points": [p.to_dict() for p in found.result.everyone_points]},
                    "fmr_at_the_models_own_thresholds": self._carried(found),
                }
                for name, found in self.crossed.items()
            ],
            "compatibility": self.compatibility.to_dict(),
        }

    def _carried(self, found: TwoSided) -> list[dict[str, Any]]:
        """The FMR of comparisons between the models at each one's own thresholds."""
        return [
            {"model": name, "fmr_alone": point.fmr, "threshold": point.threshold,
             "fmr": found.everyone.fmr_at(point.threshold)}
            for name, own in self.alone.results().items() for point in own.everyone_points
            if found.everyone is not None and point.threshold is not None
        ]  # fmt: skip

    def figure(self) -> Figure:
        return roc_figure(self.results())

    def lines(self) -> Iterator[str]:
        """What stands below the tables."""
        yield from self.alone.lines()
        yield from self.together()

    def together(self) -> Iterator[str]:
        """What there is to say of the two models together."""
        yield (
            "A to B: the first photo of each pair embedded by A, the second by B. All pairs between two "
            "models: every photo by the one with every other by the other, so both directions hold the same."
        )
        yield _OWN
        for carried in self._carried(next(iter(self.crossed.values()))):
            fmr = "above 0.02" if carried["fmr"] is None else f"{carried['fmr']:.2g}"
            yield (
                f"At {carried['model']}'s own threshold of FMR {carried['fmr_alone']:g} "
                f"({carried['threshold']:.4f}) comparisons between the two models have FMR {fmr}."
            )
        yield self.compatibility.sentence

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        return Group(
            results_table(self.results()), _thresholds(self.results()), *[Text(line) for line in self.lines()]
        )


def _thresholds(results: dict[str, PairResult]) -> Table:
    """The thresholds of each column, which are its own."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("threshold")
    for name in results:
        table.add_column(name, overflow="fold")
    rows: dict[str, list[str]] = {}
    for result in results.values():
        mean = sum(fold.threshold for fold in result.folds) / len(result.folds)
        cells = {"of accuracy, mean of folds": f"{mean:.4f}"}
        for kind, points in (
            ("listed pairs", result.rates.points),
            ("all pairs", result.everyone_points),
        ):
            for point in points:
                known = "-" if point.threshold is None else f"{point.threshold:.4f}"
                cells[f"at FMR {point.fmr:g}, {kind}"] = known
        for title, cell in cells.items():
            rows.setdefault(title, []).append(cell)
    for title, told in rows.items():
        table.add_row(title, *told)
    return table


def cross_evaluate(
    models: Sequence[Path],
    protocol: Protocol[Result],
    data: Path,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    flip: bool = False,
    advance: Advance = lambda done: None,
) -> CrossEvaluation:
    """Judge two ``models`` alone and together on the pairs of ``protocol``; the rest as `evaluate`.

    Raises `Misfit` where their embeddings have not the same length, `UsageError` where there are not two
    models or the protocol is no list of pairs, and what `evaluate` does.
    """
    check_cross(models, protocol, device)
    kept = Kept.of(_listed(protocol))
    alone = evaluate(
        models, kept, data, detector=detector, device=device, flip=flip, advance=advance
    )  # fmt: skip
    (one, other), (a, b) = kept.rows, alone.results()
    crossed = {
        f"{a} to {b}": judge_two_sided(kept, one, other),
        f"{b} to {a}": judge_two_sided(kept, other, one),
    }
    return CrossEvaluation(alone, crossed, _compatibility(alone.results(), crossed[f"{a} to {b}"]))


def _listed(protocol: Protocol[Result]) -> PairList:
    if not isinstance(protocol, PairList):
        raise UsageError(
            f"protocol {protocol.name} lists no pairs of photos, which --cross needs",
            "Two models together are judged by lfw, pairs and lists like them.",
        )
    return protocol


def check_cross(models: Sequence[Path], protocol: Protocol[Result], device: str = "cpu") -> None:
    """Raise what is wrong with the call before hours go into it, as `cross_evaluate` does."""
    if len(models) != 2:
        raise UsageError(f"--cross compares two models with each other, not {len(models)}")
    _listed(protocol)
    one, other = (load_embedder(model, device, 1) for model in models)
    dims = one.card.embedding.dim, other.card.embedding.dim
    if dims[0] != dims[1]:
        raise Misfit(
            f"{one.name} gives embeddings of {dims[0]} numbers, {other.name} of {dims[1]}: no score between "
            "them is defined",
            "Only a model that was trained to give the other's embeddings can be compared with it.",
        )


def _compatibility(alone: dict[str, PairResult], crossed: TwoSided) -> Compatibility:
    """The rule of `Compatibility`, with the interval of the difference itself, persons drawn anew."""
    tars = {name: result.everyone_points[0].tar for name, result in alone.items() if result.everyone_points}
    known = {name: tar for name, tar in tars.items() if tar is not None}
    together = crossed.result.everyone_points
    if len(known) < 2 or crossed.everyone is None or together[0].tar is None:
        short = next((r.everyone_points[0].shortfall for r in alone.values() if r.everyone_points), None)
        why = short or crossed.result.no_all_pairs or "too few comparisons were completed"
        return Compatibility(next(iter(alone)), None, why)
    weaker = min(known, key=lambda name: known[name])
    reference = alone[weaker].everyone
    assert reference is not None
    return Compatibility(weaker, tar_difference(reference, crossed.everyone, COMPATIBLE_FMR))


def check_writable(models: Sequence[Path]) -> None:
    """Raise `UsageError` for a model without a card of its own to write into."""
    for model in models:
        if model.suffix == ".toml":
            raise UsageError(f"{model}: an ensemble has no card to write into", "Give ONNX models.")


def write_compatible(found: CrossEvaluation) -> tuple[str, ...]:
    """Write each model's space into the other's card under ``compatible_with``; digest and space stay.

    Returns what was written, a line for each card. Raises `Misfit` where the models are not compatible
    or a file was changed meanwhile, `UsageError` where the data cannot show it; then nothing is written.
    """
    if found.compatibility.loss is None:
        raise UsageError("no card was written: " + found.compatibility.sentence)
    if not found.compatibility.agreed:
        raise Misfit("no card was written: " + found.compatibility.sentence)
    one, other = found.alone.models
    ready = []
    for mine, theirs in ((one, other), (other, one)):
        network = load_onnx(mine.file)
        card, _ = card_of(network, mine.file.stem)
        if card.space != mine.space:
            raise Misfit(f"{mine.file} was changed while it was being evaluated", "Evaluate it again.")
        spaces = tuple(dict.fromkeys([*card.compatible_with, theirs.space]))
        ready.append((mine.file, network, card.model_copy(update={"compatible_with": spaces}), theirs))
    told = []
    for file, network, card, theirs in ready:
        write_card(network, card, file)
        told.append(f"card of {file} written: compatible with {theirs.name} (space {theirs.space[:12]})")
    return tuple(told)
