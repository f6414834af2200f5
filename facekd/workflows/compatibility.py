"""Evaluate two models together: one embeds the probe, the other the photo it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facekd.card import card_of, load_onnx, write_card
from facekd.errors import Misfit, UsageError
from facekd.runtime import load_embedder
from facekd.verification import Kept, TwoSided, judge_two_sided, tar_difference
from facekd.verification.protocols import PairList, Protocol
from facekd.verification.results import COMPATIBLE_FMR, Compatibility, CompatibilityResult, PairResult, Result
from facekd.weights import refuse_to_change
from facekd.workflows.evaluate import evaluate_models
from facekd.workflows.photo_acquisition import Advance


def evaluate_compatibility(
    models: Sequence[Path],
    protocol: Protocol[Result],
    data: Path,
    *,
    detector: str | None = "mtcnn",
    device: str = "cpu",
    flip: bool = False,
    advance: Advance = lambda done: None,
) -> CompatibilityResult:
    """Judge two ``models`` alone and together on the pairs of ``protocol``; for the rest see `evaluate`.

    Raises `Misfit` if their embeddings differ in length, `UsageError` if there are not two models or the
    protocol is not a list of pairs, and what `evaluate` raises.
    """
    check_comparable(models, protocol, device)
    kept = Kept.of(_listed(protocol))
    alone = evaluate_models(
        models, kept, data, detector=detector, device=device, flip=flip, advance=advance
    )  # fmt: skip
    (one, other), (a, b) = kept.rows, alone.results()
    crossed = {
        f"{a} to {b}": judge_two_sided(kept, one, other),
        f"{b} to {a}": judge_two_sided(kept, other, one),
    }
    return CompatibilityResult(alone, crossed, _compatibility(alone.results(), crossed[f"{a} to {b}"]))


def _listed(protocol: Protocol[Result]) -> PairList:
    if not isinstance(protocol, PairList):
        raise UsageError(
            f"protocol {protocol.name} does not list pairs of photos",
            "Use lfw, pairs or another list of pairs for two models together.",
        )
    return protocol


def check_comparable(models: Sequence[Path], protocol: Protocol[Result], device: str = "cpu") -> None:
    """Raise the errors of `evaluate_compatibility` for its arguments, before hours are spent on photos."""
    if len(models) != 2:
        raise UsageError(f"give two models to compare with each other, not {len(models)}")
    _listed(protocol)
    one, other = (load_embedder(model, device, 1) for model in models)
    dims = one.card.embedding.dim, other.card.embedding.dim
    if dims[0] != dims[1]:
        raise Misfit(
            f"{one.name} has embeddings of {dims[0]} values, {other.name} of {dims[1]}: they cannot be "
            "compared",
            "Only models trained into the same embedding space can be compared.",
        )


def _compatibility(alone: dict[str, PairResult], crossed: TwoSided) -> Compatibility:
    """The rule of `Compatibility`, with a bootstrap interval of the difference over people."""
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
    """Raise `UsageError` for a model without a card of its own to write into, and for the shipped student."""
    for model in models:
        if model.suffix == ".toml":
            raise UsageError(f"{model}: an ensemble has no card to write into", "Give ONNX models.")
        refuse_to_change(model)


def write_compatible(found: CompatibilityResult) -> tuple[str, ...]:
    """Write each model's space into the other's card under ``compatible_with``; digest and space do not
    change.

    Returns a line about each card written. Raises `Misfit` if the models are incompatible or a file was
    changed in the meantime, `UsageError` if there is too little data to tell; nothing is written then.
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
            raise Misfit(f"{mine.file} was changed during the evaluation", "Evaluate it again.")
        spaces = tuple(dict.fromkeys([*card.compatible_with, theirs.space]))
        ready.append((mine.file, network, card.model_copy(update={"compatible_with": spaces}), theirs))
    told = []
    for file, network, card, theirs in ready:
        write_card(network, card, file)
        told.append(f"card of {file} written: compatible with {theirs.name} (space {theirs.space[:12]})")
    return tuple(told)
