"""Write MODEL_CARD.md of the shipped student, from its card and the output of commands.

facekd evaluate STUDENT TEACHER ... --data lfw.zip --pairs pairs.txt --json > lfw.json
facekd benchmark TEACHER STUDENT --json > speed.json
python tools/write_model_card.py STUDENT lfw.json speed.json facekd/weights/MODEL_CARD.md

With ``--detector``, each the output of the first command with another --detector, the page compares the
thresholds on the same photos by detector.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import onnx

from facekd.card import Card, read_card
from facekd.cli import run
from facekd.cli.options import ANY_PATH, EXISTING_FILE
from facekd.files import write_atomically
from facekd.runtime import all_sums_fit

TEXT = """# {name}

A compact face recogniser, distilled by facekd. It maps an aligned crop of 112 x 112 pixels to an
embedding of {dim} values and unit length; two embeddings are taken for the same person if their cosine
reaches a threshold.

**Terms: research only.** The faces it was trained on, and its teachers, were published for research; see
below and `LICENSE`. facekd's code has its own licence.

## How good it is

Labeled Faces in the Wild, View 2, from raw photos: {protocol}. In %, with 95 % intervals.

{table}

On {held} that were used neither for training nor for choosing a checkpoint: {thresholds}.

{speed}

Static int8, {size:.2f} MB; {int8}.

## What it is for, and what it is not

It compares faces of people who want to be recognised, in photos that show them from the front. It has no
liveness detection: a photo of a photo verifies. It is not evidence against anybody. **Thresholds do
not transfer between populations**: {travel}.
Measure your own: `facekd calibrate --data people/ --out mine.onnx`. Accuracy is lower on turned faces
than on frontal ones.

{groups}

{limits}

The thresholds hold for the detector `{detector}`, with which the crops were cut. Other detectors place
landmarks slightly differently; `facekd verify` prints a note then. {detectors}

## Where it comes from

| | |
| --- | --- |
| network | {architecture} |
| teachers | {teacher} |
| crops | {data} |
| loss | {recipe} |
| begun with | {start} |
| images seen | {images:,} (seed {seed}) |
| trained | {date} |
| licence | {licence} |
| space | `{space}` |

Teachers: EdgeFace XS and XXS (George, Ecabert, Otroshi Shahreza, Kotwal and Marcel, "EdgeFace: efficient face
recognition model for edge devices", 2023), BSD-3-Clause in the authors' repository, elsewhere CC BY-NC-SA;
face-reidentification-retail-0095 of the Open Model Zoo, Apache-2.0.

Crops: CelebA and CelebA-HQ, UTKFace (18 and over), All-Age-Faces (18 and over), MTFL, GENKI-4K, WIDER FACE,
the Deepfake Detection Challenge, CASIA-FASD, a sample of Glint360K, TFEID and collections of web photos, most
of them licensed for non-commercial research, some without stated terms. facekd contains none of these
photos.
"""


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.argument("evaluation", type=EXISTING_FILE)
@click.argument("speed", type=EXISTING_FILE)
@click.argument("out", type=ANY_PATH)
@click.option("--detector", "others", type=EXISTING_FILE, multiple=True, help="As EVALUATION, by another.")
def main(model: Path, evaluation: Path, speed: Path, out: Path, others: tuple[Path, ...]) -> None:
    """Write OUT from the card in MODEL and the documents of `evaluate` and `benchmark`."""
    card, _ = read_card(model, need_card=True)
    fits = all_sums_fit(onnx.load(str(model)))
    found, timed = json.loads(evaluation.read_text()), json.loads(speed.read_text())
    provenance, first = card.provenance, card.calibration[0]
    text = TEXT.format(
        name=card.name, dim=card.embedding.dim, protocol=_protocol(found), table=_table(found),
        held=first.data, thresholds=_thresholds(card), speed=_speed(timed, fits),
        travel=_travel(card, found), size=model.stat().st_size / 1e6,
        int8=_int8(card), groups=_groups(card), limits=_limits(card), detector=first.detector,
        detectors=_detectors(card, [found, *(json.loads(other.read_text()) for other in others)]),
        architecture=card.architecture,
        teacher=card.teacher.name if card.teacher else "none", data=provenance.data, recipe=provenance.recipe,
        start=provenance.start.name if provenance.start else "random weights",
        images=provenance.images_seen or 0, seed=provenance.seed, date=provenance.date, licence=card.licence,
        space=card.space,
    )  # fmt: skip
    write_atomically(out, text.encode())
    click.echo(str(out))


def _protocol(found: dict[str, Any]) -> str:
    photos, flip = found["photos"], "flip" if found["flip"] else "no flip"
    return (
        f"detector {found['detector']}, {flip}, {photos['named']:,} photos, "
        f"{len(photos['failures_to_acquire'])} failures to acquire"
    )


def _table(found: dict[str, Any]) -> str:
    rows = [
        "| model | accuracy | TAR at FMR 1e-3, all pairs | TAR at FMR 1e-4, all pairs |",
        "| --- | --- | --- | --- |",
    ]
    for model in found["models"]:
        points = {point["fmr"]: point for point in model["all_pairs"]["operating_points"]}
        accuracy = model["accuracy"]
        cells = [_rate(accuracy["mean"], accuracy["interval"])]
        cells += [_rate(points[fmr]["tar"], points[fmr]["interval"]) for fmr in (1e-3, 1e-4)]
        rows.append(f"| {model['name']} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _rate(value: float, interval: dict[str, Any]) -> str:
    return f"{100 * value:.2f} ({100 * interval['low']:.2f} to {100 * interval['high']:.2f})"


def _thresholds(card: Card) -> str:
    return "; ".join(
        f"threshold {c.threshold:.4f} at FMR {c.fmr:g} ({c.low:.1e} to {c.high:.1e}), "
        f"FNMR {100 * (c.fnmr or 0):.1f} %"
        for c in card.calibration
    )


def _lfw_thresholds(card: Card, found: dict[str, Any]) -> dict[float, float]:
    """By FMR."""
    (own,) = (model for model in found["models"] if model["space"] == card.space)
    return {point["fmr"]: point["threshold"] for point in own["all_pairs"]["operating_points"]}


def _detectors(card: Card, evaluations: list[dict[str, Any]]) -> str:
    """The thresholds on LFW by detector; says that others are untested if there is only one evaluation."""
    if len(evaluations) == 1:
        return "How much they change the error rates was not measured."
    by_detector = {one["detector"]: _lfw_thresholds(card, one) for one in evaluations}
    told = [
        f"that of FMR {c.fmr:g} is "
        + ", ".join(f"{lfw[c.fmr]:.3f} with `{name}`" for name, lfw in by_detector.items())
        for c in card.calibration
        if all(lfw.get(c.fmr) is not None for lfw in by_detector.values())
    ]
    return f"Thresholds on LFW by detector: {'; '.join(told)}."


def _travel(card: Card, found: dict[str, Any]) -> str:
    lfw = _lfw_thresholds(card, found)
    told = [
        f"that of FMR {c.fmr:g} is {c.threshold:.3f} on these people and {lfw[c.fmr]:.3f} on LFW"
        for c in card.calibration
        if lfw.get(c.fmr) is not None
    ]
    return ", ".join(told)


def _groups(card: Card) -> str:
    """False match rates by group, and the thresholds for similar people."""
    similar = card.similar
    measured_on = (
        "Nearly all people that its thresholds were measured on are film actors and singers of CelebA."
    )
    if similar is None:
        return f"Error rates by group are not known. {measured_on}"
    fmrs = [entry.fmr for entry in card.calibration]
    rows = [
        f"| group | people | {' | '.join(f'FMR at the threshold of {fmr:g}' for fmr in fmrs)} |",
        "| --- " * (2 + len(fmrs)) + "|",
    ]
    for group in similar.groups:
        rates = {rate.fmr: f"{rate.rate:.2g} ({rate.low:.2g} to {rate.high:.2g})" for rate in group.rates}
        cells = [rates.get(fmr, "not measured") for fmr in fmrs]
        rows.append(f"| {group.name} | {group.people:,} | {' | '.join(cells)} |")
    searches = "; ".join(
        f"{one.threshold:.4f} for FMR {one.fmr:g} ({one.group})" for one in similar.thresholds
    )
    return "\n\n".join([
        f"{measured_on} **Similar people are taken for each other more often.** False match rates at the "
        f"same thresholds between different people of one group, with 95 % intervals ({similar.data}, one "
        f"photo of each of {similar.sample.people:,} people whom the model has not seen; groups as the "
        "photos are labelled there):",
        "\n".join(rows),
        "Searches of galleries that are too small for thresholds of their own therefore use the thresholds "
        f"at which the worst group keeps the stated rate: {searches}. False non-match rates by group were "
        "not measured: there is one photo of each person.",
    ])  # fmt: skip


def _limits(card: Card) -> str:
    if card.photo_limits is None:
        return "**Poor photos are treated like good ones**: limits on their quality were not measured."
    return (
        "**Photos that are too dark, too blurred or too noisy get no answer**: there the scores of different "
        f"people rise. Limits, with the good photos that they refuse: {card.photo_limits.summary}; "
        "`docs/calibrate.md` has the measures. "
        "There is no limit for covered faces and rotated crops."
    )


#: of processors without VNNI: of any model in int8, and of one without sums that overflow
_SHIFTED = "Without VNNI facekd gives the same answers, but int8 gains little (`docs/results.md`)."
_FITTING = "Without VNNI the answers are the same, in every program, but int8 gains less (`docs/results.md`)."


def _speed(timed: dict[str, Any], fits: bool) -> str:
    told = []
    for model in timed["models"]:
        latency = next(t for t in model["timings"] if t["batch"] == 1 and t["threads"] == 1)
        told.append(f"{model['name']} {1000 * latency['median_seconds']:.2f} ms")
    vnni = "with" if any("vnni" in name for name in timed["machine"]["instructions"]) else "without"
    how = f"One crop, one thread, medians, interleaved on a processor {vnni} VNNI"
    return f"{how}: {', '.join(told)}. {_FITTING if fits else _SHIFTED}"


def _int8(card: Card) -> str:
    told = [f"mean cosine {card.metrics['int8_cosine']:.4f} to the float32 network"]
    told += [
        f"TAR at FMR {fmr} {100 * card.metrics[f'tar_{fmr}']:.2f} % where float32 has "
        f"{100 * card.metrics[f'float32_tar_{fmr}']:.2f} %"
        for fmr in ("0.001", "0.0001")
        if f"tar_{fmr}" in card.metrics
    ]
    return ", ".join(told) + ", on the held-out people that chose"


if __name__ == "__main__":
    raise SystemExit(run(main))
