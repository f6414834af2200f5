"""Evaluate measures of a photo's quality: are errors avoided by leaving out the photos of lowest quality?

    facekd align lfw.zip lfw-crops.zip
    python tools/measure_quality.py MODEL lfw-crops.zip --plot discard.png

Error-versus-discard characteristic (Grother and Tabassi, "Performance of biometric quality measures", PAMI
29, 2007; ISO/IEC 29794-1): the quality of a comparison is the lower of its two photos'; the comparisons of
lowest quality are left out, and the false non-match rate (FNMR) of the rest is stated at one threshold, that
of an FMR of 1e-3 between the first photos of all people before any is left out. A person is the folder of a
photo; up to five photos of each are compared. Intervals (95 %) are by the bootstrap over people.

Measured are the agreement of a crop's embedding with those of its mirror image (facekd's `quality` of a
recognised face), of the crop moved, and of the crop reduced and rotated; the quality that `align` reports, of
size, pose, sharpness and exposure; and the detector's score.

"share of the possible" is the area between the curve and a flat one, up to the largest share that is left
out, divided by that of an order that leaves out the errors first: 0 for a random order, 1 for a perfect one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from facekd.cli import run
from facekd.cli.options import EXISTING, EXISTING_FILE
from facekd.preprocess import decode, open_source, report_path
from facekd.runtime import Embedder, load_embedder, mirror_consistency

Floats = NDArray[np.float64]

DISCARDED = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
FMR = 1e-3
#: photos of a person that are compared, and repetitions of the bootstrap
_EACH, _REPETITIONS = 5, 1000
_ROWS = 1000
#: crops that are embedded at once
_BATCH = 64
#: how crops are changed for `agreements`: pixels to the right and down, scale, degrees
MOVED, REDUCED = (4.0, 3.0, 1.0, 0.0), (0.0, 0.0, 0.9, 5.0)


@dataclass(frozen=True)
class Mated:
    """Comparisons within people: ``score``, ``quality`` and number of the person, each [P]."""

    score: Floats
    quality: Floats
    person: NDArray[np.int64]


@dataclass(frozen=True)
class Discard:
    """FNMR and its interval with a share of the comparisons left out; ``possible`` of a perfect order."""

    left_out: float
    fnmr: float
    low: float
    high: float
    possible: float


def people_of(names: list[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        found.setdefault(name.rpartition("/")[0], []).append(place)
    return found


def threshold_at(first: NDArray[np.float32], fmr: float) -> float:
    """The score that a share ``fmr`` of the comparisons between ``first`` [N, D], all of different people,
    reaches."""
    many = len(first) * (len(first) - 1) // 2
    wanted = max(1, round(fmr * many))
    highest = np.empty(0, np.float32)
    for start in range(0, len(first), _ROWS):
        scores = first[start : start + _ROWS] @ first.T
        later = np.arange(len(first)) > np.arange(start, start + len(scores))[:, None]
        highest = np.concatenate([highest, scores[later]])
        if len(highest) > wanted:
            highest = np.partition(highest, len(highest) - wanted)[len(highest) - wanted :]
    return float(highest.min())


def mated_comparisons(embeddings: NDArray[np.float32], quality: Floats, people: list[list[int]]) -> Mated:
    pairs = [(a, b, who) for who, own in enumerate(people) for a, b in combinations(own[:_EACH], 2)]
    a, b, who = np.array(pairs, np.int64).T
    scores = np.einsum("nd,nd->n", embeddings[a].astype(np.float64), embeddings[b])
    return Mated(scores, np.minimum(quality[a], quality[b]), who)


def curve(errors: NDArray[np.bool_], quality: Floats, weights: Floats) -> Floats:
    """FNMR for each share of `DISCARDED`, of comparisons that count ``weights`` times."""
    order = np.argsort(quality, kind="stable")
    errors, weights = errors[order], weights[order]
    passed = np.cumsum(weights) / weights.sum()
    rates = []
    for share in DISCARDED:
        kept = passed > share
        rates.append(float(np.average(errors[kept], weights=weights[kept])) if weights[kept].any() else 0.0)
    return np.array(rates)


def share_of_possible(rates: Floats, possible: Floats) -> float:
    """The area between the flat line and ``rates``, divided by that of ``possible``."""
    gained, could = (np.trapezoid(rates[0] - one, DISCARDED) for one in (rates, possible))
    return float(gained / could) if could > 0 else 0.0


def measure(mated: Mated, threshold: float) -> tuple[list[Discard], dict[str, float]]:
    errors, ones = mated.score < threshold, np.ones(len(mated.score))
    rates, possible = curve(errors, mated.quality, ones), curve(errors, mated.score, ones)
    rng = np.random.default_rng(0)
    people = int(mated.person.max()) + 1
    again, shares = [], []
    for _ in range(_REPETITIONS):
        drawn = np.bincount(rng.integers(people, size=people), minlength=people)[mated.person].astype(float)
        again.append(curve(errors, mated.quality, drawn))
        shares.append(share_of_possible(again[-1], curve(errors, mated.score, drawn)))
    low, high = np.percentile(again, [2.5, 97.5], axis=0)
    rows = [Discard(*map(float, row)) for row in zip(DISCARDED, rates, low, high, possible, strict=True)]
    least, most = np.percentile(shares, [2.5, 97.5])
    found = {"share": share_of_possible(rates, possible), "low": float(least), "high": float(most)}
    return rows, found


def changed(
    crop: NDArray[np.uint8], right: float, down: float, scale: float, degrees: float
) -> NDArray[np.uint8]:
    middle = (crop.shape[1] - 1) / 2, (crop.shape[0] - 1) / 2
    matrix = cv2.getRotationMatrix2D(middle, degrees, scale)
    matrix[:, 2] = matrix[:, 2] + (right, down)
    return np.asarray(cv2.warpAffine(crop, matrix, crop.shape[1::-1]), np.uint8)


def agreements(
    embedder: Embedder, crops: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """The embeddings [N, D] of ``crops`` [N, S, S, 3], and their cosines with those of changed crops."""
    rows = embedder.embed(crops)
    found = {"mirror image": mirror_consistency(embedder, crops, rows)}
    for name, how in (("moved by 5 pixels", MOVED), ("reduced by a tenth, rotated by 5 degrees", REDUCED)):
        again = embedder.embed(np.stack([changed(crop, *how) for crop in crops]))
        found[name] = np.einsum("nd,nd->n", rows, again)
    return rows, found


def read_reported(crops: Path) -> dict[str, tuple[float, float]]:
    """Quality and detector's score of each crop, by name, from the report of ``facekd align``."""
    lines = report_path(crops).read_text(encoding="utf-8").splitlines()
    faces = (face for line in lines for face in json.loads(line).get("faces", ()))
    return {face["crop"]: (face["quality"], face["score"]) for face in faces}


def measure_all(model: Path, pack: Path) -> tuple[list[str], NDArray[np.float32], dict[str, Floats]]:
    """Names and embeddings of the crops, and each measure of their quality [N]."""
    embedder, source, reported = load_embedder(model, threads=1), open_source(pack), read_reported(pack)
    names = list(source.names())
    rows: list[NDArray[np.float32]] = []
    parts: dict[str, list[NDArray[np.float32]]] = {}
    with click.progressbar(range(0, len(names), _BATCH), label="crops") as starts:
        for start in starts:
            crops = np.stack(
                [decode(source.read(name), name).pixels for name in names[start : start + _BATCH]]
            )
            embeddings, found = agreements(embedder, crops)
            rows.append(embeddings)
            for measure, values in found.items():
                parts.setdefault(measure, []).append(values)
    qualities = {name: np.concatenate(values).astype(np.float64) for name, values in parts.items()}
    told = np.array([reported[name] for name in names], np.float64)
    qualities |= {"size, pose, sharpness, exposure": told[:, 0], "detector's score": told[:, 1]}
    return names, np.concatenate(rows), qualities


def draw(rows: list[Discard], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    shares = [100 * row.left_out for row in rows]
    axes.fill_between(shares, [100 * r.low for r in rows], [100 * r.high for r in rows], alpha=0.25)
    axes.plot(shares, [100 * row.fnmr for row in rows], marker="o", label="lowest quality first")
    axes.axhline(100 * rows[0].fnmr, color="grey", linestyle=":", label="any order")
    axes.plot(shares, [100 * row.possible for row in rows], linestyle="--", label="errors first")
    axes.set(xlabel="comparisons left out (%)", ylabel=f"FNMR at FMR {FMR:g} (%)", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=150)


@click.command()
@click.argument("model", type=EXISTING_FILE)
@click.argument("crops", type=EXISTING)
@click.option("--plot", type=click.Path(path_type=Path), help="Draw the curve of the mirror image.")
@click.option("--json", "as_json", is_flag=True)
def main(model: Path, crops: Path, plot: Path | None, as_json: bool) -> None:
    names, rows, qualities = measure_all(model, crops)
    people = people_of(names)
    threshold = threshold_at(rows[[own[0] for own in people.values()]], FMR)
    several = [own for own in people.values() if len(own) > 1]
    found = {
        name: measure(mated_comparisons(rows, quality, several), threshold)
        for name, quality in qualities.items()
    }
    if plot is not None:
        draw(found["mirror image"][0], plot)
    if as_json:
        curves = {
            name: {"share_of_possible": share, "curve": [asdict(row) for row in curve]}
            for name, (curve, share) in found.items()
        }
        click.echo(json.dumps({"people": len(several), "threshold": threshold, "qualities": curves}))
        return
    count = len(mated_comparisons(rows, next(iter(qualities.values())), several).score)
    click.echo(f"{count:,} mated comparisons of {len(several):,} people, threshold {threshold:.4f}")
    click.echo("FNMR with the lowest left out: " + ", ".join(f"{share:.0%}" for share in DISCARDED))
    for name, (curve, share) in found.items():
        rates = "  ".join(f"{row.fnmr:6.2%}" for row in curve)
        click.echo(
            f"{name:42} {rates}  share of the possible {{share:.2f}} [{{low:.2f}}, {{high:.2f}}]".format(
                **share
            )
        )


if __name__ == "__main__":
    raise SystemExit(run(main))
