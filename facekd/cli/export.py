"""Write a trained network as one ONNX file with its card.

The file is checked against the network it came from, on real crops, before it is written; its
card gets thresholds, a score map and photo limits, measured on people that the network was not trained
on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from facekd.cli.options import ANY_PATH, EXISTING, json_option
from facekd.cli.output import answer, answer_json, progress, say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facekd.export import Int8Cost, MetricGain


@click.command("export")
@click.argument("source", metavar="RUN")
@click.option(
    "--out", type=ANY_PATH, default=None, metavar="FILE.onnx",
    help="Write here [default: RUN/student.onnx].",
)  # fmt: skip
@click.option(
    "--data", type=EXISTING, multiple=True, metavar="CROPS",
    help="Measure on these crops instead of the recipe's held-out people: a folder or pack with a "
    "folder per person, none of them used in training; or a recipe. Repeatable.",
)  # fmt: skip
@click.option(
    "--int8",
    is_flag=True,
    help="Quantise to int8: a quarter of the size, about three times as fast on a processor with VNNI.",
)
@click.option(
    "--any-processor",
    is_flag=True,
    help="With --int8: on processors without VNNI exact in every program, and faster; slightly less "
    "accurate.",
)
@json_option
def command(
    source: str, out: Path | None, data: tuple[Path, ...], int8: bool, any_processor: bool, as_json: bool
) -> None:
    """Export RUN: a run folder, one of its checkpoints, or a teacher, named as in recipes.

    \b
    Example: facekd export runs/first
             facekd export runs/first --int8
             facekd export runs/first/checkpoints/last --out last.onnx
             facekd export timm:edgenext_x_small:FILE.safetensors --data crops.zip --out x.onnx
    """
    from facekd.export import export

    done = export(source, out, data, tell=say, int8=int8, any_processor=any_processor, progress=progress)
    say(f"written: {done.path} (checked against the torch network on 64 crops)")
    if done.metric:
        say(_gain_told(done.metric, done.card.embedding.dim))
    if done.int8:
        say(_cost_told(done.int8))
    if done.uncalibrated:
        say(f"no threshold in the card: {done.uncalibrated}")
    if as_json:
        answer_json({"path": str(done.path), "card": done.card.model_dump(mode="json")})
        return
    answer(f"name       {done.card.name}")
    answer(f"space      {done.card.space}")
    answer(f"embedding  {done.card.embedding.dim}")
    for entry in done.card.calibration:
        answer(
            f"threshold  {entry.threshold:.4f} at FMR {entry.fmr:g} "
            f"(95 % {entry.low:.2g} to {entry.high:.2g}; {entry.data})"
        )
    if done.card.calibration:
        score_map, limits = done.card.score_map, done.card.photo_limits
        told = f"{score_map.curve.kind}, Cllr {score_map.cllr:.4f}" if score_map else f"none: {done.no_map}"
        answer(f"score map  {told}")
        answer(f"limits     {limits.summary if limits else f'none: {done.no_limits}'}")


def _gain_told(gain: MetricGain, dim: int) -> str:
    """The gain from the projector's metric, in one line."""
    if not gain.tar:
        return "projector dropped: too few held-out people to measure its metric"
    told = _beside(gain.tar, gain.tar_plain, "without")
    if gain.kept:
        return f"metric of the projector kept, {dim} values: {told}"
    return f"projector dropped, because its metric is worse on the held-out people: {told}"


def _cost_told(cost: Int8Cost) -> str:
    """The accuracy lost by int8, in one line."""
    told = f"int8: mean cosine {cost.cosine:.4f} to the float32 network"
    return "; ".join([told, *([_beside(cost.tar_int8, cost.tar, "in float32")] if cost.tar else [])])


def _beside(tar: Mapping[float, float], other: Mapping[float, float], named: str) -> str:
    """Two TARs at each FMR; ``named`` describes the second."""
    return "; ".join(
        f"TAR at FMR {fmr:g} {100 * tar[fmr]:.2f} %, {100 * other[fmr]:.2f} % {named}" for fmr in tar
    )
